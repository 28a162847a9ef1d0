"""The short form of the soak: see tests/soak.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import Plan, soak


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_workers_that_are_killed_lose_nothing(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{place}_url")
    plan = Plan(messages=600, kills=5, pause=0.5, delay=0.1, lease=3.0, seed=20)
    outcome = soak(tmp_path / "host", url, plan)
    assert outcome.holds, str(outcome)
    assert outcome.kills > 2, "it was over before it began"
