"""How pages write times, durations, sizes and numbers.

Owns the words of values. Pure but for :class:`Formatter`, which knows the site's time zone and the
present time. Must not know any page. Templates see a formatter as ``fmt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

IRREGULAR = {"is": "are", "was": "were", "has": "have", "waits": "wait", "address": "addresses"}


def number(value: float) -> str:
    """Return a number with thousands separators: ``1,204``."""
    return f"{value:,}"


def plural(count: int, word: str, words: str | None = None) -> str:
    """Return a count and its noun: ``1 message``, ``214 messages``.

    :param words: the plural, where adding an ``s`` does not make it.
    """
    return f"{number(count)} {word if count == 1 else words or IRREGULAR.get(word, word + 's')}"


def size(count: int) -> str:
    """Return bytes in words: ``812 bytes``, ``4.2 kB``, ``25 MB`` (powers of 1,000)."""
    if count < 1000:
        return plural(count, "byte")
    for power, unit in ((1, "kB"), (2, "MB"), (3, "GB")):
        value = count / 1000**power
        if value < 999.5 or unit == "GB":
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def milliseconds(value: float | None) -> str:
    """Return a short duration: ``< 1 ms``, ``142 ms``, ``3.2 s``."""
    if value is None:
        return ""
    if value < 1:
        return "< 1 ms"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 100_000 else duration(value / 1000)


def duration(seconds: float | timedelta) -> str:
    """Return a duration in its one or two largest units: ``8 s``, ``14 min``, ``2 h 5 min``."""
    total = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    total = max(0, round(total))
    if total < MINUTE:
        return f"{total} s"
    if total < HOUR:
        return f"{total // MINUTE} min"
    if total < DAY:
        hours, minutes = divmod(total // MINUTE, 60)
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    days = total // DAY
    if days < 14:
        return plural(days, "day")
    if days < 60:
        return plural(days // 7, "week")
    return plural(days // 30, "month") if days < 730 else plural(days // 365, "year")


@dataclass(frozen=True)
class Formatter:
    """Writes times as of ``now`` in ``zone``; the other functions are here for the templates."""

    now: datetime
    zone: ZoneInfo

    number = staticmethod(number)
    plural = staticmethod(plural)
    size = staticmethod(size)
    milliseconds = staticmethod(milliseconds)
    duration = staticmethod(duration)

    def relative(self, value: datetime) -> str:
        """Return how long ago or how far ahead a time is: ``3 min ago``, ``in 14 min``."""
        seconds = (value - self.now).total_seconds()
        if abs(seconds) < 1:
            return "now" if seconds >= 0 else "just now"
        words = duration(abs(seconds))
        return f"in {words}" if seconds > 0 else f"{words} ago"

    def exact(self, value: datetime) -> str:
        """Return a time in full in the site's zone: ``Sun 22 Nov 2026, 09:10:05``."""
        return self.local(value).strftime("%a %-d %b %Y, %H:%M:%S")

    def clock(self, value: datetime) -> str:
        """Return a time by the clock, with as much of the date as is needed.

        ``09:10`` today, ``Tuesday 09:10`` within six days, otherwise ``3 May 2026, 09:10``.
        """
        local, today = self.local(value), self.local(self.now).date()
        days = abs((local.date() - today).days)
        if days == 0:
            return local.strftime("%H:%M")
        return local.strftime("%A %H:%M" if days <= 6 else "%-d %b %Y, %H:%M")

    def iso(self, value: datetime) -> str:
        """Return a time as ``datetime`` attributes want it: ISO 8601 in UTC, with a ``Z``."""
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def local(self, value: datetime) -> datetime:
        """Return a time in the site's zone."""
        return value.astimezone(self.zone)
