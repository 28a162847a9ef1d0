"""How long an urgent message takes while a worker is busy with a long queue of newsletters."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.databases import KINDS, NAMES
from benchmarks.figures import percentile, shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting

from . import history


def measure(setting: Setting) -> Section:
    """Measure it on each database."""
    scale = setting.scale
    section = Section(
        title=f"An urgent message behind {scale.due:,} others, {scale.urgent} times, milliseconds",
        head=("database", "p50", "p99", "others left"),
    )
    for kind in KINDS:
        template = history.filled(setting, kind, scale.due)
        with setting.databases.copy(template) as url:
            contest.fill("claim_fill", database=url, history=0)
            given = {"database": url, "redis": setting.redis_url, "count": scale.urgent}
            told = contest.run("urgent", given)
        p50, p99 = (percentile(told["milliseconds"], share) for share in (0.5, 0.99))
        name = NAMES[kind]
        section.rows.append([name, shown(p50), shown(p99), f"{told['left']:,}"])
        section.promises.append(
            Promise(
                f"an urgent message in a busy queue, p99, {name}", p99, 2_000, "ms", at_most=True
            )
        )
        section.data[kind] = {"p50": p50, "p99": p99, "left": told["left"]}
    return section
