"""The parts: what is measured, a module each. Every one has ``measure(setting)``.

They may be run alone: ``make bench ARGS="--only drain,latency"``.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import Section
from benchmarks.setting import Setting

from . import (
    claim,
    contention,
    drain,
    enqueue,
    latency,
    memory,
    overhead,
    pages,
    urgent,
    wake,
)

PARTS: dict[str, Callable[[Setting], Section]] = {
    "drain": drain.measure,
    "latency": latency.measure,
    "enqueue": enqueue.measure,
    "wake": wake.measure,
    "urgent": urgent.measure,
    "pages": pages.measure,
    "claim": claim.measure,
    "contention": contention.measure,
    "memory": memory.measure,
    "overhead": overhead.measure,
}
