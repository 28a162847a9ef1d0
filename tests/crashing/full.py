"""The long form: every point, on each database. ``make soak ARGS=--crash-points`` runs it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.crashing import drill, scene, sends
from tests.crashing.forks import Forks
from tests.crashing.places import FillIn, on_postgres, on_sqlite
from tests.servers.postgres import PostgresServer

EVERY_FUNCTION = 10_000


def crash_everywhere(folder: Path, databases: Sequence[str], seed: int) -> int:
    """Do everything that can be done at a point, and return how many runs broke a promise."""
    broken = 0
    with Forks(folder / "forks") as forks:
        for name in databases:
            for what, run in _runs(forks, folder, name, seed):
                began = time.monotonic()
                outcome = run()
                verdict = "holds" if outcome.holds else "BROKEN"
                seconds = time.monotonic() - began
                sys.stdout.write(f"{name}, {what}, {seconds:.0f} s: {outcome} {verdict}\n")
                sys.stdout.flush()
                broken += not outcome.holds
    return broken


def _runs(
    forks: Forks, folder: Path, name: str, seed: int
) -> Iterator[tuple[str, Callable[[], drill.Outcome]]]:
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer()) if name == "postgresql" else None
        place = folder / name
        place.mkdir()
        prepare = partial(sends.prepare, folder=place)
        with _fill_in(place / "sends", server)(prepare) as copies:
            passed = drill.points_of_sending(forks, copies, place / "quiet")
            crash = drill.crash_of_sending(place)
            yield "sending, every line", partial(drill.crash_at, forks, copies, passed, crash)
        with _fill_in(place / "deliveries", server)(scene.fill) as copies:
            passed = drill.points_of_delivery(forks, copies)
            run = partial(drill.crash_at, forks, copies)
            kill = partial(run, passed, drill.crash_of_delivery, steps=drill.STEPS)
            yield "delivery, every line", kill
            if server is not None:
                some = drill.one_a_function(forks, passed, EVERY_FUNCTION, seed)
                restart = drill.restart_of_database(server)
                yield "the database killed, each function", partial(run, some, restart)


def _fill_in(folder: Path, server: PostgresServer | None) -> FillIn:
    folder.mkdir()
    return partial(on_sqlite, folder) if server is None else partial(on_postgres, server)
