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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from flask_smtp_admin.core import utc_now
from flask_smtp_admin.models import AttemptStatus, Flight, Message, Status
from tests.crashing.full import crash_everywhere
from tests.dispatch.stage import Stage, a_stage
from tests.outages import with_a_lock, without_redis
from tests.servers.catchall import CatchAll
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess
from tests.waiting import ConditionNotMet, wait_until

PROMISED_SECONDS = 75
PROMISED_CRASHES = 3
"""In so many a message is put into quarantine. As the docs have it: the engine may be wrong."""
LOOK_EVERY = 0.05
"""Seconds."""
SERVERS = {"postgresql": PostgresServer, "mariadb": MariaDBServer}


@dataclass(frozen=True)
class Plan:
    """What is to be done. Pauses and delays are in seconds.

    :param sessions: of each worker.
    :param pause: the longest time between two kills.
    :param delay: how long the server takes over each message.
    :param once: how many of a hundred messages are sent with ``at_most_once``.
    :param lease: of the workers; ``None`` for the product's own pace.
    :param promise: how soon what a killed worker had in hand has to be taken back.
    """

    messages: int
    kills: int
    workers: int = 2
    sessions: int = 4
    pause: float = 1.0
    delay: float = 0.2
    once: int = 10
    lease: float | None = None
    promise: float = PROMISED_SECONDS
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    plan: Plan
    kills: int
    once: int
    """Messages that must not go twice."""
    cut_off: int
    """Attempts that a kill cut off."""
    unexplained: int
    """Other attempts that failed: the server refuses nothing, so nothing else may have stopped one."""
    unlogged: int
    """Attempts that were under way when their worker was killed, and that the log does not have."""
    lost: int
    """Messages that no server has, and that are not held."""
    unsent: int
    """Messages that are neither sent nor held."""
    strangers: int
    """Copies whose Message-ID the database does not know."""
    copies: int
    """Copies beyond the first, over all messages."""
    excess: int
    """Messages that went more often than once and once more for each attempt that was cut off."""
    doubled: int
    """Messages that must not go twice, and did."""
    held: int
    """Messages that are held."""
    groundless: int
    """Messages that are held although the docs name no ground for it, or without a reason."""
    unheld: int
    """Messages that should be held, and are not."""
    recoveries: tuple[float, ...]
    """What :class:`InHand` measured: seconds, one for each message that a killed worker had in hand."""

    @property
    def most_cut_off(self) -> int:
        """One a session a kill: so many attempts can be cut off, and so many copies be sent."""
        return self.kills * self.plan.sessions

    @property
    def recovery_p99(self) -> float:
        """Seconds, 0 when nothing was in hand."""
        ordered = sorted(self.recoveries)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        never = (self.lost, self.unsent, self.strangers, self.excess, self.doubled)
        nor = (self.unexplained, self.unlogged, self.groundless, self.unheld)
        return (
            not any(never + nor)
            and max(self.copies, self.cut_off) <= self.most_cut_off
            and self.recovery_p99 <= self.plan.promise
        )

    def __str__(self) -> str:
        return (
            f"{self.plan.messages:,} messages, {self.once:,} of them at most once; {self.kills} kills "
            f"cut off {self.cut_off} attempts, {self.unexplained} failed otherwise, {self.unlogged} "
            f"are not in the log: {self.lost} lost, {self.unsent} unsent, {self.strangers} unknown, "
            f"{self.copies} copies (at most {self.most_cut_off} may be), {self.excess} sent more often "
            f"than they were cut off, {self.doubled} sent twice that must not be, {self.held} held, "
            f"{self.groundless} held without a ground, {self.unheld} not held that should be; "
            f"{len(self.recoveries)} were in the hands of killed workers, taken back after "
            f"{self.recovery_p99:.1f} s (99th percentile)."
        )


class _Claim(NamedTuple):
    """A message under the lease with this token."""

    message: int
    token: str


class InHand:
    """What killed workers had in hand, and how long it took until it was taken back.

    That is all that they had claimed, in flight or not begun. Seconds count from the kill until the
    message is under that claim no more, and not until it is sent: it is due again then, and waits
    for those that come before it, which is no matter of recovery.

    Only marks of messages in flight name a worker. All messages under the same lease are with the
    same one, and a lease seldom has no mark. For those that had none the lease itself tells: one of a
    living worker is renewed, or its messages are dealt with long before it ends; one of a killed
    worker stays as it is until it has ended.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._kills: dict[str, datetime] = {}
        """When workers were killed, by their process ids."""
        self._owners: dict[str, str] = {}
        """Process ids of workers, by the tokens of their leases."""
        self._left: dict[_Claim, datetime] = {}
        """When their worker was killed."""
        self._unclear: dict[_Claim, tuple[datetime, datetime]] = {}
        """The time of the kill, and when the lease ended then."""
        self._seconds: list[float] = []
        self.under_way: set[_Claim] = set()
        """What killed workers had in flight."""

    def kill(self, worker: ServerProcess) -> None:
        """Kill a worker, and note what it had in hand."""
        number, now = str(worker.pid), utc_now()
        worker.kill()
        self._kills[number] = now
        for claim, row in self.look().items():
            if claim.token not in self._owners:
                self._unclear.setdefault(claim, (now, row.lease_until))

    def look(self) -> dict[_Claim, Any]:
        """See what has been taken back since the last look, and return what is in anybody's hand."""
        claims = self._claims()
        now = utc_now()
        for claim, row in claims.items():
            if row.worker is not None:
                self._owners[claim.token] = _process_id(row.worker)
        for claim, row in claims.items():
            if (killed_at := self._kills.get(self._owners.get(claim.token, ""))) is not None:
                self._left.setdefault(claim, killed_at)
                if row.worker is not None:
                    self.under_way.add(claim)
        for claim in self._left.keys() - claims.keys():
            self._note(self._left.pop(claim), now)
        self._clear_up(claims, now)
        return claims

    def has_in_flight(self, worker: ServerProcess) -> bool:
        """Tell whether a worker is just offering something to the server."""
        number = str(worker.pid)
        return any(row.worker and _process_id(row.worker) == number for row in self.look().values())

    def was_killed(self, worker: str | None) -> bool:
        """Tell whether a worker, as the log calls it, was killed."""
        return worker is not None and _process_id(worker) in self._kills

    def recoveries(self) -> tuple[float, ...]:
        """Return the seconds that it took."""
        return tuple(self._seconds)

    def _clear_up(self, claims: dict[_Claim, Any], now: datetime) -> None:
        """See what has become clear of claims that had no mark."""
        for claim, (killed_at, lease_until) in list(self._unclear.items()):
            row = claims.get(claim)
            is_renewed = row is not None and row.lease_until != lease_until
            if claim.token in self._owners or is_renewed:
                del self._unclear[claim]
            elif row is None:
                del self._unclear[claim]
                if now >= lease_until:
                    self._note(killed_at, now)

    def _note(self, killed_at: datetime, now: datetime) -> None:
        self._seconds.append((now - killed_at).total_seconds())

    def _claims(self) -> dict[_Claim, Any]:
        is_its_mark = sa.and_(
            Flight.message_id == Message.id, Flight.lease_token == Message.lease_token
        )
        query = (
            sa.select(Message.id, Message.lease_token, Message.lease_until, Flight.worker)
            .outerjoin(Flight, is_its_mark)
            .where(Message.status == Status.SENDING)
        )
        with self._stage.bench.engine.connect() as connection:
            return {_Claim(row.id, row.lease_token): row for row in connection.execute(query)}


def _process_id(worker: str) -> str:
    """Return the process id out of what the log calls a worker."""
    return worker.rpartition(":")[2]


def soak(folder: Path, database_url: str, plan: Plan) -> Outcome:
    """Deliver under fire, and compare."""
    dice = random.Random(plan.seed)
    with a_stage(folder, database_url, lease=plan.lease) as stage, CatchAll() as sink:
        sink.answer_after(plan.delay)
        # Sessions of workers that were killed count until their leases end.
        stage.bench.connection(sink, max_sessions=100_000)
        for _ in range(plan.messages):
            stage.send(at_most_once=dice.randrange(100) < plan.once)
        in_hand = InHand(stage)
        kills = _kill_at_random(stage, plan, dice, in_hand)
        _deliver_the_rest(stage, in_hand)
        return _compare(stage, sink, plan, kills, in_hand)


def _deliver_the_rest(stage: Stage, in_hand: InHand) -> None:
    def is_over() -> bool:
        in_hand.look()
        return _has_ended(stage)

    # What has not ended by then is counted, like everything else.
    with suppress(ConditionNotMet):
        wait_until(is_over, timeout=600, what="the end of all messages")
    in_hand.look()


def _has_ended(stage: Stage) -> bool:
    """Tell whether no worker has anything more to do."""
    with stage.bench.engine.connect() as connection:
        under_way = Message.status.in_((Status.QUEUED, Status.SENDING))
        return connection.execute(sa.select(Message.id).where(under_way).limit(1)).scalar() is None


def _start(stage: Stage, plan: Plan) -> ServerProcess:
    return stage.worker("--sessions", str(plan.sessions))


def _kill_at_random(stage: Stage, plan: Plan, dice: random.Random, in_hand: InHand) -> int:
    workers = [_start(stage, plan) for _ in range(plan.workers)]
    for number in range(plan.kills):
        _look_on(in_hand, dice.uniform(0, plan.pause))
        if _has_ended(stage):
            return number
        victim = dice.randrange(len(workers))
        if number == 0:  # one kill at least is to cut something off
            _wait_for_a_mark(in_hand, workers[victim])
        in_hand.kill(workers[victim])
        workers[victim] = _start(stage, plan)
    return plan.kills


def _wait_for_a_mark(in_hand: InHand, worker: ServerProcess) -> None:
    wait_until(lambda: in_hand.has_in_flight(worker), what="a message in flight")


def _look_on(in_hand: InHand, seconds: float) -> None:
    clock, until = threading.Event(), time.monotonic() + seconds
    in_hand.look()
    while (left := until - time.monotonic()) > 0:
        clock.wait(min(left, LOOK_EVERY))
        in_hand.look()


def is_to_be_held(row: Any, cut_off: int) -> bool:
    """Tell whether the docs have a message held, of whose attempts so many were cut off.

    That is after one if it must not go twice, and after three in any case.
    """
    return cut_off >= (1 if row.at_most_once else PROMISED_CRASHES)


def _compare(stage: Stage, sink: CatchAll, plan: Plan, kills: int, in_hand: InHand) -> Outcome:
    taken = Counter(one.message_id for one in sink.messages)
    rows = stage.bench.messages()
    known = {row.message_id for row in rows}
    attempts = stage.bench.attempts()
    failed = [row for row in attempts if row.status is AttemptStatus.FAIL]
    # Without a stage: nobody was there to tell how far it came.
    cut_off = Counter(
        row.message_id for row in failed if row.stage is None and in_hand.was_killed(row.worker)
    )
    held = [row for row in rows if row.status is Status.HELD]
    others = [row for row in rows if row.status is not Status.HELD]
    once = [row for row in rows if row.at_most_once]
    return Outcome(
        plan,
        kills,
        once=len(once),
        cut_off=cut_off.total(),
        unexplained=len(failed) - cut_off.total(),
        unlogged=len(
            in_hand.under_way - {_Claim(row.message_id, row.lease_token) for row in attempts}
        ),
        lost=sum(not taken[row.message_id] for row in others),
        unsent=sum(row.status is not Status.SENT for row in others),
        strangers=sum(count for name, count in taken.items() if name not in known),
        copies=sum(count - 1 for name, count in taken.items() if name in known),
        excess=sum(taken[row.message_id] > 1 + cut_off[row.id] for row in rows),
        doubled=sum(taken[row.message_id] > 1 for row in once),
        held=len(held),
        groundless=sum(not (is_to_be_held(row, cut_off[row.id]) and row.reason) for row in held),
        unheld=sum(is_to_be_held(row, cut_off[row.id]) for row in others),
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
