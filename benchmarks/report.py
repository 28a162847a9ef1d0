"""What a part hands back, and how it is printed and written down.

Owns the tables' look and the JSON's shape. Must not know what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contest import Contender, Told
from benchmarks.figures import Spread, paired_ratio, shown
from benchmarks.table import table


@dataclass(frozen=True)
class Promise:
    """What was to be reached, and what was.

    :param limit: the least value, or the largest one where ``at_most``.
    :param unit: what stands behind the number: ``×``, ``ms``.
    """

    what: str
    value: float
    limit: float
    unit: str = "×"
    at_most: bool = False

    @property
    def kept(self) -> bool:
        """Whether it was reached."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def row(self) -> list[str]:
        """Return its line in the table."""
        sign = "≤" if self.at_most else "≥"
        wanted = f"{sign} {self.limit:g} {self.unit}".strip()
        return [self.what, wanted, f"{shown(self.value)} {self.unit}".strip(), _yes(self.kept)]

    def as_dict(self) -> dict[str, Any]:
        """Return it for the JSON."""
        return {
            "what": self.what,
            "value": self.value,
            "limit": self.limit,
            "at_most": self.at_most,
            "unit": self.unit,
            "kept": self.kept,
        }


@dataclass
class Section:
    """The result of one part."""

    title: str
    head: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return it as Markdown."""
        return "\n\n".join([f"### {self.title}", table(self.head, self.rows), *self.notes])

    def as_dict(self) -> dict[str, Any]:
        """Return it for the JSON."""
        promises = [promise.as_dict() for promise in self.promises]
        return {"title": self.title, "figures": self.data, "promises": promises}


def promises_text(sections: Sequence[Section]) -> str:
    """Return the table of all promises."""
    rows = [promise.row() for section in sections for promise in section.promises]
    return "### What was to be reached\n\n" + table(["what", "wanted", "reached", "kept"], rows)


CONTEST_HEAD = ("contender", "a second", "lowest–highest", "µs CPU each", "ratio")


@dataclass(frozen=True)
class Contest:
    """The outcome of contenders that took turns, compared with one of them."""

    contenders: Sequence[Contender]
    told: dict[str, list[Told]]
    base: str

    def rates(self, key: str) -> list[float]:
        """Return a contender's rate in each round."""
        return [one["count"] / one["seconds"] for one in self.told[key]]

    def ratio(self, key: str, other: str) -> float:
        """Return how many times as fast one is as another: the median over the rounds."""
        return paired_ratio(self.rates(key), self.rates(other)).median

    def fastest(self, keys: Sequence[str]) -> str:
        """Return the one with the highest median."""
        return max(keys, key=lambda key: Spread.of(self.rates(key)).median)

    def rows(self) -> list[list[str]]:
        """Return the lines of the table."""
        return [self._row(one) for one in self.contenders]

    def data(self) -> dict[str, Any]:
        """Return the figures for the JSON."""
        return {one.key: self._figures(one) for one in self.contenders}

    def _row(self, contender: Contender) -> list[str]:
        rates = Spread.of(self.rates(contender.key))
        return [
            contender.label,
            shown(rates.median),
            f"{shown(rates.low)}–{shown(rates.high)}",
            shown(self._cpu(contender.key) * 1e6),
            f"{shown(self.ratio(contender.key, self.base))} ×",
        ]

    def _figures(self, contender: Contender) -> dict[str, Any]:
        key = contender.key
        return {
            "label": contender.label,
            "per_second": Spread.of(self.rates(key)).as_dict(),
            "ratio": paired_ratio(self.rates(key), self.rates(self.base)).as_dict(),
            "ratio_to": self.base,
            "cpu_microseconds": self._cpu(key) * 1e6,
            "count": self.told[key][0]["count"],
        }

    def _cpu(self, key: str) -> float:
        return Spread.of([one["cpu"] / one["count"] for one in self.told[key]]).median


def _yes(kept: bool) -> str:
    return "yes" if kept else "no"
