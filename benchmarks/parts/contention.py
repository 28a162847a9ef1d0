"""What it costs that many workers claim from one table: processes that do nothing else, in turns.

Together they can claim no more than the database manages; the question is how much of that is lost
when they meet. Real workers send between two claims, and so meet less.
"""

from __future__ import annotations

from benchmarks import contest
from benchmarks.databases import POSTGRESQL
from benchmarks.figures import percentile, shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting

from . import history

CLAIMERS = (1, 2, 4, 8, 16)


def measure(setting: Setting) -> Section:
    """Empty the same queue with more and more claimers."""
    count = setting.scale.contended
    section = Section(
        title=f"Contention: {count:,} messages claimed from one PostgreSQL table, 100 at a time",
        head=("claimers", "messages a second", "to one claimer", "a claim, ms, p50", "p99"),
    )
    template = history.filled(setting, POSTGRESQL, count)
    rates: list[float] = []
    for claimers in CLAIMERS:
        with setting.databases.copy(template) as url:
            contest.fill("claim_fill", database=url, history=0)
            told = contest.run("claims", *[{"database": url}] * claimers)
        assert told["count"] == count, "a message was claimed twice, or not at all"
        rates.append(told["count"] / told["seconds"])
        p50, p99 = (percentile(told["milliseconds"], share) for share in (0.5, 0.99))
        ratio = rates[-1] / rates[0]
        section.rows.append(
            [str(claimers), shown(rates[-1]), f"{shown(ratio)} ×", shown(p50), shown(p99)]
        )
        section.data[str(claimers)] = {"rate": rates[-1], "p50": p50, "p99": p99}
    section.promises.append(
        Promise("claims of 16 workers together to one's", rates[-1] / rates[0], 0.7)
    )
    return section
