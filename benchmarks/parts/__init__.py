"""The parts: what is measured, a module each. Every one has ``measure(setting)``.

They may be run alone: ``make bench ARGS="--only drain,latency"``.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import Section
from benchmarks.setting import Setting

from . import claim, drain, enqueue, latency, memory, overhead, pages, wake

PARTS: dict[str, Callable[[Setting], Section]] = {
    "drain": drain.measure,
    "latency": latency.measure,
    "enqueue": enqueue.measure,
    "wake": wake.measure,
    "pages": pages.measure,
    "claim": claim.measure,
    "memory": memory.measure,
    "overhead": overhead.measure,
}
