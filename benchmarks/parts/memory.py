"""The memory of a worker: whether a long queue makes it grow, and what a large message costs."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.contest import Told
from benchmarks.databases import SQLITE
from benchmarks.figures import shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting

SESSIONS = 3
FLAT = 1.1
"""Times as much as for a tenth of the queue; a worker that keeps what it sent would take more."""
BASE64 = 4 / 3 * 78 / 76
"""Bytes that an attachment's byte becomes, with the ends of lines."""


def measure(setting: Setting) -> Section:
    """Drain a short queue, a long one, and a single large message."""
    scale = setting.scale
    long = scale.memory_messages
    short = long // 10
    few, many = (_drained(setting, count) for count in (short, long))
    large = _drained(setting, 1, scale.large_bytes)
    size = scale.large_bytes * BASE64
    growth = (large["memory_peak"] - large["memory_before"]) / size
    flatness = many["memory_peak"] / few["memory_peak"]
    told = {
        f"{short:,} messages": few,
        f"{long:,} messages": many,
        f"1 message of {size / 1e6:.0f} MB": large,
    }
    return Section(
        title=f"Memory of a worker, SQLite, {SESSIONS} sessions, MB",
        head=("queue", "before", "at most"),
        rows=[
            [label, _megabytes(one["memory_before"]), _megabytes(one["memory_peak"])]
            for label, one in told.items()
        ],
        promises=[
            Promise(f"memory for {long:,} messages to {short:,}", flatness, FLAT, at_most=True),
            Promise("growth for a large message to its size", growth, 4, at_most=True),
        ],
        data={
            label: {name: one[name] for name in ("memory_before", "memory_peak")}
            for label, one in told.items()
        },
    )


def _drained(setting: Setting, count: int, attachment: int = 0) -> Told:
    setting.say(f"a queue of {count:,}")
    with setting.databases.fresh(SQLITE) as url:
        port = setting.port
        contest.fill("ours_fill", database=url, port=port, count=count, attachment=attachment)
        return contest.run("ours_drain", {"database": url, "sessions": SESSIONS, "limit": SESSIONS})


def _megabytes(size: int) -> str:
    return shown(size / 1e6)
