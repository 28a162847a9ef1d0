"""Tests of how numbers, spans and times are said."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from flask_smtp_admin import wording
from flask_smtp_admin.wording import Count

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (8, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (14 * 60 + 50, "14 min"),
        (3600, "1 h"),
        (2 * 3600 + 300, "2 h 5 min"),
        (11 * 3600 + 300, "11 h"),
        (86_400, "1 day"),
        (13 * 86_400, "13 days"),
        (20 * 86_400, "2 weeks"),
        (90 * 86_400, "3 months"),
        (800 * 86_400, "2 years"),
    ],
)
def test_a_span_is_said_in_its_largest_units(seconds: float, words: str) -> None:
    assert wording.span(seconds) == words
    assert wording.span(timedelta(seconds=seconds)) == words


def test_a_time_is_said_from_now() -> None:
    assert wording.relative(NOW + timedelta(minutes=14), NOW) == "in 14 min"
    assert wording.relative(NOW - timedelta(hours=3), NOW) == "3 h ago"
    assert wording.relative(NOW - timedelta(milliseconds=400), NOW) == "just now"
    assert wording.relative(NOW + timedelta(milliseconds=400), NOW) == "any moment"


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, "10:00"),
        (1, "tomorrow 10:00"),
        (-1, "yesterday 10:00"),
        (2, "Tuesday 10:00"),
        (-6, "Monday 10:00"),
        (7, "29 Nov 10:00"),
        (60, "21 Jan 2027 10:00"),
    ],
)
def test_a_moment_is_said_as_near_as_it_is(days: int, words: str) -> None:
    assert wording.moment(NOW + timedelta(days=days), ZoneInfo("Europe/Berlin"), NOW) == words


def test_the_day_is_that_of_the_zone() -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=timezone.utc)
    assert wording.moment(late, ZoneInfo("Europe/Berlin"), NOW) == "tomorrow 00:30"


def test_numbers_have_separators_and_nouns_agree() -> None:
    assert wording.counted(1, "message") == "1 message"
    assert wording.counted(1204, "message") == "1,204 messages"
    assert wording.counted(Count(100_000, more=True), "message") == "100,000+ messages"
    assert wording.counted(2, "try", "tries") == "2 tries"
    assert str(Count(3) + Count(4, more=True)) == "7+"
    assert not Count(0)
    assert Count(0, more=True)


def test_words_are_listed_as_a_sentence_has_them() -> None:
    assert wording.listed([]) == ""
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"


def test_a_sentence_can_follow_a_colon() -> None:
    assert wording.decapitalised("The mailbox is full.") == "the mailbox is full"
    assert wording.decapitalised("DATA was refused.") == "DATA was refused"
    assert wording.decapitalised("") == ""
