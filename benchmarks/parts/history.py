"""Outboxes with a short and a long history, for the parts that compare them.

Owns filling them, once a run, since a million messages take their time.
"""

from __future__ import annotations

from benchmarks import contest
from benchmarks.databases import Template
from benchmarks.setting import Setting


def filled(setting: Setting, kind: str, count: int) -> Template:
    """Return an outbox with so many messages, each with a recipient and an attempt."""
    setting.say(f"an outbox with {count:,} messages, {kind}")
    return setting.databases.kept(
        f"history {count}",
        kind,
        lambda url: contest.fill("history_fill", database=url, count=count),
    )
