"""What the pages cost with very many attempts, against the same pages with few."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.databases import KINDS, NAMES
from benchmarks.figures import percentile, shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting

from . import history

FEW = 1_000


def measure(setting: Setting) -> Section:
    """Look at both outboxes of each database in turns."""
    many = setting.scale.history + setting.scale.due  # the outbox that the claims are tried on, too
    section = Section(
        title=f"Pages with {many:,} attempts, milliseconds, {setting.scale.page_views} views each",
        head=("page", "p50", "p95", f"p50 with {FEW:,}", f"p95 with {FEW:,}", "ratio of p50"),
    )
    for kind in KINDS:
        taken = _milliseconds(setting, kind, many)
        worst = [_add(section, f"{NAMES[kind]}, {page}", *both) for page, both in taken.items()]
        p95 = max(one[0] for one in worst)
        ratio = max(one[1] for one in worst)
        section.promises += [
            Promise(f"slowest page's p95, {NAMES[kind]}", p95, 100, "ms", at_most=True),
            Promise(f"worst page to itself with {FEW:,}, {NAMES[kind]}", ratio, 1.5, at_most=True),
        ]
    return section


def _milliseconds(setting: Setting, kind: str, many: int) -> dict[str, list[list[float]]]:
    counts = [FEW, many]
    given = {
        "databases": [history.filled(setting, kind, count).url for count in counts],
        "messages": counts,
        "count": setting.scale.page_views,
    }
    taken: dict[str, list[list[float]]] = contest.run("pages", given)["milliseconds"]
    return taken


def _add(section: Section, page: str, few: list[float], many: list[float]) -> tuple[float, float]:
    """Add a page, and return its p95 and how many times as long as with few it takes."""
    p50, p95 = percentile(many, 0.5), percentile(many, 0.95)
    p50_few, p95_few = percentile(few, 0.5), percentile(few, 0.95)
    # Of p95 it would be what else the machine did, of 40 views.
    ratio = p50 / p50_few
    section.rows.append([page, *map(shown, (p50, p95, p50_few, p95_few)), f"{shown(ratio)} ×"])
    section.data[page] = {
        "p50": p50,
        "p95": p95,
        "p50_few": p50_few,
        "p95_few": p95_few,
        "ratio": ratio,
    }
    return p95, ratio
