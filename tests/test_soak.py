"""The short form of the soak: see tests/soak.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.outages import Outage, with_a_lock, without_redis
from tests.soak import Plan, soak


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_workers_that_are_killed_lose_nothing(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{place}_url")
    # One that goes on after two crashes rests for a minute: most must not go twice.
    plan = Plan(600, kills=5, pause=0.5, delay=0.1, once=60, lease=3.0, promise=20.0, seed=20)
    outcome = soak(tmp_path / "host", url, plan)
    assert outcome.holds, str(outcome)
    assert outcome.kills > 1, "it was over before it began"
    assert outcome.cut_off, "nothing was in flight"
    assert len(outcome.recoveries) > outcome.cut_off, "nothing was claimed and not begun"


@pytest.mark.slow
def test_a_database_that_is_locked_for_a_while_loses_nothing(
    database_url: str, tmp_path: Path
) -> None:
    outage = with_a_lock(tmp_path / "host", database_url, seconds=2, messages=60)
    assert outage.holds, str(outage)


@pytest.mark.slow
def test_a_redis_that_is_away_for_a_while_loses_nothing(sqlite_url: str, tmp_path: Path) -> None:
    outage = without_redis(tmp_path / "host", sqlite_url, seconds=2, every=0.5, lease=3.0)
    assert outage.holds, str(outage)


def test_an_outage_that_keeps_a_message_for_too_long_is_found_out() -> None:
    """An engine that waits until Redis is back loses nothing, either."""
    outage = Outage("Redis away", 600, sent=2, lost=0, copies=0, waits=(1.0, 30.0), most=30)
    assert outage.holds
    assert not replace(outage, waits=(1.0, 31.0)).holds
