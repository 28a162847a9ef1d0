"""How pages write times, sizes and numbers.

Owns what only pages need besides :mod:`flask_smtp_admin.wording`: the exact and the machine's form
of a time, sizes, milliseconds. Must not know any page. Templates see a formatter as ``fmt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from flask_smtp_admin import wording


def size(count: int) -> str:
    """Return bytes in words: ``812 bytes``, ``4.2 kB``, ``25 MB`` (powers of 1,000)."""
    if count < 1000:
        return wording.counted(count, "byte")
    for power, unit in ((1, "kB"), (2, "MB"), (3, "GB")):
        value = count / 1000**power
        if value < 999.5 or unit == "GB":
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def milliseconds(value: float | None) -> str:
    """Return a short span: ``< 1 ms``, ``142 ms``, ``3.2 s``; nothing for ``None``."""
    if value is None:
        return ""
    if value < 1:
        return "< 1 ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"


@dataclass(frozen=True)
class Formatter:
    """Writes times as of ``now`` in ``zone``; the other functions are here for the templates."""

    now: datetime
    zone: ZoneInfo

    number = staticmethod(wording.number)
    counted = staticmethod(wording.counted)
    listed = staticmethod(wording.listed)
    span = staticmethod(wording.span)
    size = staticmethod(size)
    milliseconds = staticmethod(milliseconds)

    def relative(self, value: datetime) -> str:
        """Return how long ago or how far ahead a time is: ``3 min ago``, ``in 14 min``."""
        return wording.relative(value, self.now)

    def moment(self, value: datetime) -> str:
        """Return a time as one says it today: ``09:10``, ``Tuesday 09:10``, ``3 May 09:10``."""
        return wording.moment(value, self.zone, self.now)

    def exact(self, value: datetime) -> str:
        """Return a time in full in the site's zone: ``Sunday 22 Nov 2026, 09:10:05``."""
        local = wording.in_zone(value, self.zone)
        day = wording.WEEKDAYS[local.weekday()]
        month = wording.MONTHS[local.month - 1]
        return f"{day} {local.day} {month} {local.year}, {local:%H:%M:%S}"

    def iso(self, value: datetime) -> str:
        """Return a time as ``datetime`` attributes want it: ISO 8601 in UTC, with a ``Z``."""
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
