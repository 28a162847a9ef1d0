"""Numbers: medians, spreads, percentiles and the ratio of what took turns.

Pure. Must not know what was measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Spread:
    """What several rounds gave: the middle one, and the ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def as_dict(self) -> dict[str, float]:
        """Return it for the JSON."""
        return asdict(self)


def paired_ratio(these: Sequence[float], those: Sequence[float]) -> Spread:
    """Return how many times ``those`` each of ``these`` is, round by round.

    Within a round both met the same machine, so its drift cancels out.
    """
    return Spread.of([one / other for one, other in zip(these, those, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not below ``share`` (0 to 1) of all: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def shown(value: float) -> str:
    """Return a number with about three digits that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
