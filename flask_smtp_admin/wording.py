"""How numbers, spans and times are said in a sentence.

Owns the wording that pages, command line and health report have in common. Pure: must not know
Flask, the database or the clock, which is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True)
class Count:
    """A number that was counted up to a bound: ``more`` tells that there are others."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return number(self.number) + ("+" if self.more else "")

    def __bool__(self) -> bool:
        return self.number > 0 or self.more

    def __add__(self, other: Count) -> Count:
        return Count(self.number + other.number, self.more or other.more)


def number(value: int) -> str:
    """Return ``value`` with thousands separators: ``1,204``."""
    return f"{value:,}"


def counted(value: int | Count, singular: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 message``, ``41 messages``, ``100,000+ messages``.

    :param plural: where it is not the singular with an ``s``.
    """
    count = Count(value) if isinstance(value, int) else value
    return f"{count} {agreeing(count, singular, plural or singular + 's')}"


def agreeing(value: int | Count, singular: str, plural: str) -> str:
    """Return the word that agrees with a number: ``waits`` for 1, ``wait`` for any other."""
    count = Count(value) if isinstance(value, int) else value
    return singular if count.number == 1 and not count.more else plural


def listed(words: Iterable[str]) -> str:
    """Return words as a sentence has them: ``a``, ``a and b``, ``a, b and c``."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def span(length: timedelta | float) -> str:
    """Return a length of time in its one or two largest units: ``8 s``, ``14 min``, ``2 h 5 min``.

    Units are cut off rather than rounded up, and a negative length counts as none.

    :param length: a number is in seconds.
    """
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    total = max(0, round(seconds))
    if total < MINUTE:
        return f"{total} s"
    if total < HOUR:
        return f"{total // MINUTE} min"
    if total < DAY:
        hours, minutes = divmod(total // MINUTE, 60)
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    days = total // DAY
    if days < 14:
        return counted(days, "day")
    if days < 60:
        return counted(days // 7, "week")
    return counted(days // 30, "month") if days < 730 else counted(days // 365, "year")


def relative(moment: datetime, now: datetime) -> str:
    """Return how far ``moment`` is from ``now``: ``in 14 min``, ``3 h ago``, ``just now``.

    What is to come within the second is due ``any moment``.
    """
    away = moment - now
    if abs(away) < timedelta(seconds=1):
        return "any moment" if away > timedelta() else "just now"
    return f"in {span(away)}" if away > timedelta() else f"{span(-away)} ago"


def moment(value: datetime, zone: tzinfo, now: datetime) -> str:
    """Return a time as one says it today: ``09:10``, ``yesterday 09:10``, ``Tuesday 09:10``.

    Further than six days away the date is given, with the year where it is another one.
    """
    local, today = in_zone(value, zone), in_zone(now, zone)
    days = (local.date() - today.date()).days
    clock = f"{local:%H:%M}"
    if days == 0:
        return clock
    if abs(days) == 1:
        return f"{'tomorrow' if days == 1 else 'yesterday'} {clock}"
    if abs(days) <= 6:
        return f"{WEEKDAYS[local.weekday()]} {clock}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {MONTHS[local.month - 1]}{year} {clock}"


def in_zone(value: datetime, zone: tzinfo) -> datetime:
    """Return a time in a zone, or as it is where the calendar ends in between."""
    try:
        return value.astimezone(zone)
    except OverflowError:
        return value


def decapitalised(sentence: str) -> str:
    """Return a sentence so that it can follow a colon: no full stop, no capital of its own.

    A first word that is written in capitals, such as ``DATA``, keeps them.
    """
    text = sentence.strip().removesuffix(".")
    keeps = text[1:2].isupper() or text[1:2].isdigit()
    return text if keeps else text[:1].lower() + text[1:]
