"""Killing workers, again and again, while they deliver: is anything lost, does anything go twice?

Run as ``python -m tests.soak`` (``make soak``); the suite runs a short form of it. The oracle is the
mail server's own journal, compared with the database by the Message-ID of each message.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin.delivery.housekeeping import CRASHES_TO_QUARANTINE
from flask_smtp_admin.models import AttemptStatus, Message, Status
from tests.crashing.full import crash_everywhere
from tests.dispatch.stage import Stage, a_stage
from tests.outages import with_a_lock, without_redis
from tests.servers.catchall import CatchAll
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess
from tests.waiting import wait_until

PROMISED_SECONDS = 75
A_MOMENT = 2.5
"""Seconds. A worker claims what it can deal with in one, and a lease lasts for three at least."""
SERVERS = {"postgresql": PostgresServer, "mariadb": MariaDBServer}


@dataclass(frozen=True)
class Plan:
    """What is to be done. Pauses and delays are in seconds.

    :param sessions: of each worker.
    :param pause: the longest time between two kills.
    :param delay: how long the server takes over each message.
    :param once: how many of a hundred messages are sent with ``at_most_once``.
    :param lease: of the workers; ``None`` for the product's own pace.
    """

    messages: int
    kills: int
    workers: int = 2
    sessions: int = 4
    pause: float = 1.0
    delay: float = 0.2
    once: int = 10
    lease: float | None = None
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    plan: Plan
    kills: int
    cut_off: int
    """Attempts whose worker was killed."""
    copies: int
    """Copies beyond the first, over all messages."""
    held: int
    """Messages that are held for a reason that the docs name."""
    lost: int
    """Messages that no server has, and that are not held."""
    strangers: int
    """Copies whose Message-ID the database does not know."""
    unsent: int
    """Messages that are not in the state that they should have come to."""
    excess: int
    """Messages that went more often than they may, see :func:`most_copies`."""
    recoveries: tuple[float, ...]
    """Seconds from each kill until a message that the worker had in hand was taken back."""

    @property
    def copies_allowed(self) -> int:
        """One a session a kill."""
        return self.kills * self.plan.sessions

    @property
    def recovery_p99(self) -> float:
        """Seconds, 0 when nothing was in hand."""
        ordered = sorted(self.recoveries)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        nothing = self.lost == self.strangers == self.unsent == self.excess == 0
        return (
            nothing and self.copies <= self.copies_allowed and self.recovery_p99 <= PROMISED_SECONDS
        )

    def __str__(self) -> str:
        return (
            f"{self.plan.messages:,} messages, {self.kills} kills, {self.cut_off} attempts cut off: "
            f"{self.lost} lost, {self.copies} sent twice (at most {self.copies_allowed} may be), "
            f"{self.excess} too often, {self.held} held, {self.unsent} unsent, {self.strangers} "
            f"unknown; {len(self.recoveries)} were in the hands of killed workers, taken back after "
            f"{self.recovery_p99:.1f} s (99th percentile)."
        )


class InHand:
    """What killed workers had in hand, and when it was taken back."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._killed_at: dict[tuple[int, str], float] = {}
        self._seconds: list[float] = []

    def note_kill(self) -> None:
        """Note what is in anybody's hand; to be called directly after a kill."""
        now = time.monotonic()
        for claim in self._claims():
            self._killed_at.setdefault(claim, now)

    def look(self) -> None:
        """See what is in that hand no more."""
        now, claims = time.monotonic(), self._claims()
        for claim in self._killed_at.keys() - claims:
            self._seconds.append(now - self._killed_at.pop(claim))

    def recoveries(self) -> tuple[float, ...]:
        """Return the seconds that it took.

        What a living worker had in hand is among what was noted. It deals with a claim within a
        moment, and a dead one with none.
        """
        return tuple(seconds for seconds in self._seconds if seconds > A_MOMENT)

    def _claims(self) -> set[tuple[int, str]]:
        query = sa.select(Message.id, Message.lease_token).where(Message.status == Status.SENDING)
        with self._stage.bench.engine.connect() as connection:
            return {(row.id, row.lease_token or "") for row in connection.execute(query)}


def soak(folder: Path, database_url: str, plan: Plan) -> Outcome:
    """Deliver under fire, and compare."""
    dice = random.Random(plan.seed)
    with a_stage(folder, database_url, lease=plan.lease) as stage, CatchAll() as sink:
        sink.answer_after(plan.delay)
        # Sessions of workers that were killed count until their leases end.
        stage.bench.connection(sink, max_sessions=100_000)
        for _ in range(plan.messages):
            stage.send(at_most_once=dice.randrange(100) < plan.once)
        workers = [_start(stage, plan) for _ in range(plan.workers)]
        in_hand = InHand(stage)
        kills = _kill_at_random(stage, workers, plan, dice, in_hand)
        _deliver_the_rest(stage, in_hand)
        return _compare(stage, sink, plan, kills, in_hand)


def _deliver_the_rest(stage: Stage, in_hand: InHand) -> None:
    def is_over() -> bool:
        in_hand.look()
        return _has_ended(stage)

    wait_until(is_over, timeout=600, what="the end of all messages")


def _has_ended(stage: Stage) -> bool:
    ended = (Status.SENT, Status.HELD)
    with stage.bench.engine.connect() as connection:
        others = sa.select(Message.id).where(Message.status.not_in(ended)).limit(1)
        return connection.execute(others).scalar() is None


def _start(stage: Stage, plan: Plan) -> ServerProcess:
    return stage.worker("--sessions", str(plan.sessions))


def _kill_at_random(
    stage: Stage,
    workers: list[ServerProcess],
    plan: Plan,
    dice: random.Random,
    in_hand: InHand,
) -> int:
    clock = threading.Event()
    for number in range(plan.kills):
        clock.wait(dice.uniform(0, plan.pause))
        if _has_ended(stage):
            return number
        victim = dice.randrange(len(workers))
        workers[victim].kill()
        in_hand.note_kill()
        workers[victim] = _start(stage, plan)
        in_hand.look()
    return plan.kills


def most_copies(row: Any, cut_off: int) -> int:
    """Return how often a message may have been sent, of whose attempts so many were cut off."""
    return 1 if row.at_most_once else 1 + cut_off


def has_ended_well(row: Any, cut_off: int) -> bool:
    """Tell whether a message is in a state that the docs promise.

    It is held after a kill if it must not go twice, and after three in any case.
    """
    survives = 1 if row.at_most_once else CRASHES_TO_QUARANTINE
    return bool(row.status == (Status.SENT if cut_off < survives else Status.HELD))


def _compare(stage: Stage, sink: CatchAll, plan: Plan, kills: int, in_hand: InHand) -> Outcome:
    taken = Counter(one.message_id for one in sink.messages)
    rows = stage.bench.messages()
    known = {row.message_id for row in rows}
    # The server refuses nothing: whatever failed was cut off.
    cut_off = Counter(
        row.message_id for row in stage.bench.attempts() if row.status is AttemptStatus.FAIL
    )
    return Outcome(
        plan,
        kills,
        cut_off=cut_off.total(),
        held=sum(row.status == Status.HELD for row in rows),
        lost=sum(not taken[row.message_id] and row.status != Status.HELD for row in rows),
        copies=sum(count - 1 for name, count in taken.items() if name in known),
        strangers=sum(count for name, count in taken.items() if name not in known),
        unsent=sum(not has_ended_well(row, cut_off[row.id]) for row in rows),
        excess=sum(taken[row.message_id] > most_copies(row, cut_off[row.id]) for row in rows),
        recoveries=in_hand.recoveries(),
    )


# --- from the command line -----------------------------------------------------------------------


@contextmanager
def _database(name: str, folder: Path) -> Iterator[str]:
    if name == "sqlite":
        yield f"sqlite:///{folder / 'soak.sqlite'}"
        return
    with SERVERS[name]() as server, server.database() as url:
        yield url


def main() -> int:
    """Run it on each database, and return whether a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--database", choices=("sqlite", *SERVERS), nargs="*")
    parser.add_argument(
        "--crash-points",
        action="store_true",
        help="kill at every line of the engine, one after the other, instead of at random",
    )
    parser.add_argument(
        "--outages",
        action="store_true",
        help="take Redis away for ten minutes and lock the database for 30 s, instead of killing",
    )
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # the application's receivers of signals raise on purpose
    databases = given.database or ("sqlite", "postgresql")
    if given.crash_points:
        if "mariadb" in databases:
            parser.error(
                "--crash-points knows no MariaDB; without it, workers are killed there, too."
            )
        with tempfile.TemporaryDirectory() as folder:
            return crash_everywhere(Path(folder), databases, given.seed)
    if given.outages:
        return _outages(databases)
    plan = Plan(given.messages, given.kills, delay=given.delay, seed=given.seed)
    broken = 0
    for name in databases:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, _database(name, Path(folder)) as url:
            outcome = soak(Path(folder) / "host", url, plan)
        seconds = time.monotonic() - began
        verdict = "holds" if outcome.holds else "BROKEN"
        sys.stdout.write(f"{name}, seed {given.seed}, {seconds:.0f} s: {outcome} {verdict}\n")
        broken += not outcome.holds
    return broken


def _outages(databases: Sequence[str]) -> int:
    broken = 0
    for name in databases:
        for outage in (with_a_lock, without_redis):
            with tempfile.TemporaryDirectory() as folder, _database(name, Path(folder)) as url:
                outcome = outage(Path(folder) / "host", url)
            verdict = "holds" if outcome.holds else "BROKEN"
            sys.stdout.write(f"{name}: {outcome} {verdict}\n")
            broken += not outcome.holds
    return broken


if __name__ == "__main__":
    sys.exit(main())
