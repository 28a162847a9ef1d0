"""Our drain as a contender, for the parts that let it compete.

Owns the filled outbox that is copied for each round.
"""

from __future__ import annotations

from benchmarks import contest
from benchmarks.contest import Contender, Told
from benchmarks.databases import NAMES, Template
from benchmarks.setting import Setting


def filled(setting: Setting, kind: str, port: int, count: int) -> Template:
    """Make an outbox with so many messages for a server at ``port``."""
    return setting.databases.filled(
        kind,
        lambda url: contest.fill("ours_fill", database=url, port=port, count=count),
        rows=count > 0,
    )


def drain(setting: Setting, template: Template, sessions: int, workers: int = 1) -> Contender:
    """Return the contender: so many workers with so many sessions each."""

    def once() -> Told:
        with setting.databases.copy(template) as url:
            given = {"database": url, "sessions": sessions, "limit": sessions * workers}
            return contest.run("ours_drain", *[given] * workers)

    who = "" if workers == 1 else f"{workers} workers, "
    each = "1 session" if sessions == 1 else f"{sessions} sessions"
    return Contender(
        key(template.kind, sessions, workers), f"ours, {NAMES[template.kind]}, {who}{each}", once
    )


def key(kind: str, sessions: int, workers: int = 1) -> str:
    """Return the contender's key."""
    return f"ours_{kind}_{sessions}" if workers == 1 else f"ours_{kind}_{workers}x{sessions}"
