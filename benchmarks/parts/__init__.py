"""The parts: what is measured, a module each. Every one has ``measure(setting)``.

They may be run alone: ``make bench ARGS="--only drain,latency"``.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import Section
from benchmarks.setting import Setting

from . import drain, latency

PARTS: dict[str, Callable[[Setting], Section]] = {
    "drain": drain.measure,
    "latency": latency.measure,
}
