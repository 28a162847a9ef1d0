"""What a claim costs with a long history behind it, against none; as much is due in both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import contest
from benchmarks.databases import KINDS, NAMES
from benchmarks.figures import Spread, shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting

from . import history


def measure(setting: Setting) -> Section:
    """Claim in turns from both outboxes of each database."""
    scale = setting.scale
    section = Section(
        title=f"Claim of 50 messages, {scale.due:,} due, milliseconds, medians of {scale.claims}",
        head=("database", "no history", f"{scale.history:,} messages of history", "ratio"),
    )
    for kind in KINDS:
        with _due(setting, kind, 0) as short, _due(setting, kind, scale.history) as long:
            told = contest.run("claim", {"databases": [short, long], "count": scale.claims})
        without, behind = (Spread.of(taken) for taken in told["milliseconds"])
        ratio = behind.median / without.median
        name = NAMES[kind]
        section.rows.append(
            [name, shown(without.median), shown(behind.median), f"{shown(ratio)} ×"]
        )
        section.promises.append(
            Promise(f"claim with a history, {name}, to one without", ratio, 1.5, at_most=True)
        )
        section.data[kind] = {"without": without.as_dict(), "with": behind.as_dict()}
    return section


@contextmanager
def _due(setting: Setting, kind: str, behind: int) -> Iterator[str]:
    """An outbox with messages that are due, and so many behind them."""
    template = history.filled(setting, kind, behind + setting.scale.due)
    with setting.databases.copy(template) as url:
        contest.fill("claim_fill", database=url, history=behind)
        yield url
