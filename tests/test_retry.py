"""The two tables of delays."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_smtp_admin import retry

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)


def test_nine_tries_take_about_sixteen_hours() -> None:
    at = NOW
    for attempt in range(1, 9):
        at = retry.next_attempt(at, attempt, 0.5)
    assert at - NOW == timedelta(hours=15, minutes=51)


@pytest.mark.parametrize(
    ("attempt", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 30), (5, 60), (8, 480), (30, 480)]
)
def test_the_waits_of_a_message(attempt: int, minutes: int) -> None:
    assert retry.next_attempt(NOW, attempt, 0.5) - NOW == timedelta(minutes=minutes)


@given(attempt=st.integers(1, 100), chance=st.floats(0, 1))
def test_chance_moves_a_wait_by_a_tenth_at_most(attempt: int, chance: float) -> None:
    middle = retry.next_attempt(NOW, attempt, 0.5) - NOW
    wait = retry.next_attempt(NOW, attempt, chance) - NOW
    assert middle * 0.9 <= wait <= middle * 1.1


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 5), (2, 10), (3, 20), (4, 30), (5, 60), (6, 120), (7, 300), (8, 600), (50, 600)],
)
def test_the_waits_of_a_connection(failures: int, seconds: int) -> None:
    assert retry.next_probe(NOW, failures) - NOW == timedelta(seconds=seconds)


@given(attempt=st.integers(1, 8))
def test_the_last_try_is_foretold_by_the_same_table(attempt: int) -> None:
    at = NOW
    for number in range(attempt + 1, 9):
        at = retry.next_attempt(at, number, 0.5)
    assert retry.gives_up_at(NOW, attempt, 9) == at
