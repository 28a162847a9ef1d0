"""Crashes at many points one after another, and what they broke.

Owns which points are taken. The suite takes some of them; ``python -m tests.soak --crash-points``
takes them all.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crashing import sends
from tests.crashing.forks import DONE, KILL, STOP, Forks
from tests.crashing.places import Copies
from tests.crashing.scene import a_scene
from tests.servers.postgres import PostgresServer

LEASE = 2.0
"""Seconds, of the worker that is stopped."""

STEPS = (
    "delivery.housekeeping:rescue",
    "delivery.claim:claim",
    "delivery.record:begin",
    "smtp.sending:Sending.run",
    "smtp.sending:Sending._may_finish",
    "delivery.decide:decide",
    "delivery.record:finish",
    "delivery.claim:release",
)
"""The steps of the loop, at which a worker is killed in any case."""

Crash = Callable[[Forks, Copies, int], bool]
"""Crashes at a point and checks what came of it; ``False``: the point was not reached this time."""


@dataclass
class Outcome:
    """What came of many crashes."""

    points: int
    crashes: int = 0
    missed: list[str] = field(default_factory=list)
    """Points that were not reached, and must be each time."""
    broken: list[str] = field(default_factory=list)
    """Where a promise was broken, and which."""

    @property
    def holds(self) -> bool:
        """Whether every promise was kept, and nearly all points were reached.

        Threads do not pass the same points each time, but those of the loop's own steps.
        """
        is_full = not self.missed and self.crashes >= 0.9 * self.points
        return is_full and not self.broken

    def __str__(self) -> str:
        words = f"killed at {self.crashes} of {self.points} points, {len(self.broken)} broken"
        missed = [f"{site}: not reached" for site in self.missed]
        return "\n  ".join([words, *missed, *self.broken])


def one_a_function(forks: Forks, points: Sequence[int], count: int, seed: int) -> list[int]:
    """Choose a point in each of so many functions."""
    dice = random.Random(seed)
    by_function: dict[str, list[int]] = defaultdict(list)
    for number in points:
        by_function[forks.sites[number].function].append(number)
    functions = dice.sample(sorted(by_function), min(count, len(by_function)))
    return [dice.choice(by_function[function]) for function in functions]


def crash_at(
    forks: Forks, copies: Copies, points: Sequence[int], crash: Crash, *, steps: Sequence[str] = ()
) -> Outcome:
    """Crash at each of the points, each time with a copy of its own.

    :param steps: functions whose first points must be among them, and be reached.
    """
    outcome = Outcome(len(points))
    firsts = set(named(forks, steps))
    outcome.missed += [str(forks.sites[number]) for number in firsts - set(points)]
    for number in points:
        try:
            is_reached = crash(forks, copies, number)
            outcome.crashes += is_reached
            if number in firsts and not is_reached:
                outcome.missed.append(str(forks.sites[number]))
        except Exception as error:  # noqa: BLE001  (told with all others at the end)
            outcome.crashes += 1
            outcome.broken.append(f"{forks.sites[number]}: {type(error).__name__}: {error}")
    return outcome


# --- a worker that delivers ----------------------------------------------------------------------


def points_of_delivery(forks: Forks, copies: Copies) -> list[int]:
    """Deliver without a crash, and return the points that are passed."""
    with copies.one() as url, a_scene(url) as scene:
        assert forks.run("deliver", database_url=url) == DONE
        scene.note_crash()
        scene.recover()
        scene.check(crashes=0)
    return forks.passed()


def crash_of_delivery(forks: Forks, copies: Copies, number: int) -> bool:
    """Kill a worker there, have another one deliver the rest, and compare."""
    with copies.one() as url, a_scene(url) as scene:
        ended = forks.run("deliver", at=number, by=KILL, database_url=url)
        scene.note_crash()
        scene.recover()
        scene.check()
        return ended == KILL


def stop_of_delivery(forks: Forks, copies: Copies, number: int) -> bool:
    """Stop a worker there until another one has taken everything over, and let it go on."""
    with copies.one() as url, a_scene(url) as scene:
        ended = forks.run("deliver", at=number, by=STOP, database_url=url, lease=LEASE)
        if ended != STOP:
            return False
        scene.note_crash(is_dead=False)
        scene.take_over()
        before, took = scene.recorded(), scene.server.took()
        assert forks.go_on() == DONE
        changed = set(scene.recorded()) - set(before)
        assert not changed, f"it was not fenced, and wrote {changed}"
        sent = scene.server.took() - took
        assert not sent, f"it was not fenced, and sent {sent}"
        scene.recover()
        scene.check()
        return True


def restart_of_database(server: PostgresServer) -> Crash:
    """Return what kills the database while a worker is there, and starts it again."""

    def crash(forks: Forks, copies: Copies, number: int) -> bool:
        with copies.one() as url, a_scene(url) as scene:
            ended = forks.run("deliver", at=number, by=STOP, database_url=url)
            if ended != STOP:
                return False
            scene.note_crash(is_dead=False)
            server.kill()
            server.start()
            scene.bench.engine.dispose()
            assert forks.go_on() == DONE
            scene.recover()
            scene.check(crashes=0)
            return True

    return crash


# --- a process that sends ------------------------------------------------------------------------


def points_of_sending(forks: Forks, copies: Copies, folder: Path) -> list[int]:
    """Send without a crash, and return the points that are passed."""
    with copies.one() as url:
        sends.run(forks, url, folder, None)
        sends.check(url, folder, is_whole=True)
    return forks.passed()


def crash_of_sending(folder: Path) -> Crash:
    """Return what kills a process that sends, and looks at what is stored."""
    numbers = iter(range(10**9))

    def crash(forks: Forks, copies: Copies, number: int) -> bool:
        place = folder / f"sends{next(numbers)}"
        with copies.one() as url:
            ended = sends.run(forks, url, place, number)
            sends.check(url, place, is_whole=ended == DONE)
            return ended == KILL

    return crash


def named(forks: Forks, functions: Sequence[str]) -> Iterator[int]:
    """The first points of these functions."""
    return (forks.first_of(function) for function in functions)
