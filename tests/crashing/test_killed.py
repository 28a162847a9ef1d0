"""Killed at one line after the other: nothing is lost, and nothing goes twice that need not.

The suite takes one line in each of some functions; ``make soak ARGS=--crash-points`` takes every line.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.crashing import drill, scene, sends
from tests.crashing.drill import STEPS
from tests.crashing.forks import KILL, Forks
from tests.crashing.places import FillIn, on_sqlite

SEED = 20
FUNCTIONS = 20
"""In which the suite kills."""


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_repeats_what_was_in_flight(
    forks: Forks, fill_in: FillIn
) -> None:
    with fill_in(scene.fill) as copies:
        passed = drill.points_of_delivery(forks, copies)
        steps = list(drill.named(forks, STEPS))
        some = drill.one_a_function(forks, passed, FUNCTIONS, SEED)
        points = [*steps, *some]
        outcome = drill.crash_at(forks, copies, points, drill.crash_of_delivery, steps=STEPS)
    assert outcome.holds, str(outcome)


@pytest.mark.slow
def test_what_send_returned_for_is_stored_and_the_rest_is_whole_or_not_there(
    forks: Forks, fill_in: FillIn, tmp_path: Path
) -> None:
    with fill_in(partial(sends.prepare, folder=tmp_path)) as copies:
        passed = drill.points_of_sending(forks, copies, tmp_path / "quiet")
        some = drill.one_a_function(forks, passed, FUNCTIONS, SEED)
        outcome = drill.crash_at(forks, copies, some, drill.crash_of_sending(tmp_path))
    assert outcome.holds, str(outcome)


def test_the_engine_passes_the_points_in_a_child(forks: Forks, tmp_path: Path) -> None:
    """Otherwise the others would kill nobody."""
    with on_sqlite(tmp_path, scene.fill) as copies:
        passed = drill.points_of_delivery(forks, copies)
        functions = {forks.sites[number].function for number in passed}
        with copies.one() as url, scene.a_scene(url) as set_:
            at = forks.first_of("smtp.sending:Sending._may_finish")
            assert forks.run("deliver", at=at, database_url=url) == KILL
            set_.note_crash()
            assert not set_.server.accepted, "killed before the first final dot"
    assert {"delivery.lane:Lane.run", "worker:Worker.run", *STEPS} <= functions


def test_an_engine_that_marks_nothing_is_found_out(forks: Forks, tmp_path: Path) -> None:
    """The oracle, too, is tested: a worker that sends before the mark is committed breaks it."""
    with on_sqlite(tmp_path, scene.fill) as copies, copies.one() as url, scene.a_scene(url) as set_:
        at = forks.first_of("delivery.decide:decide")
        assert forks.run("deliver", at=at, database_url=url, spoil="begin") == KILL
        with pytest.raises(AssertionError, match="sent without a mark"):
            set_.note_crash()


def test_an_engine_that_records_nothing_is_found_out(forks: Forks, tmp_path: Path) -> None:
    """A worker that forgets an outcome sends again what the server has."""
    with on_sqlite(tmp_path, scene.fill) as copies, copies.one() as url, scene.a_scene(url) as set_:
        at = forks.first_of("delivery.claim:release")
        assert forks.run("deliver", at=at, database_url=url, spoil="finish") == KILL
        set_.note_crash()
        set_.recover()
        with pytest.raises(AssertionError, match="more were in flight"):
            set_.check()


def test_a_step_that_is_not_reached_is_found_out(forks: Forks, tmp_path: Path) -> None:
    """Nearly all points are enough, but not if the others are steps of the loop."""
    with on_sqlite(tmp_path, scene.fill) as copies:
        steps = list(drill.named(forks, STEPS))
        crash_at = partial(drill.crash_at, forks, copies, steps=STEPS)
        assert crash_at(steps, lambda *_: True).holds
        points = [*steps, *steps[:-1] * 9]
        assert not crash_at(points, lambda *which: which[2] != steps[-1]).holds
        assert not crash_at(steps[1:], lambda *_: True).holds
