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

import sqlalchemy as sa

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
SERVERS = {"postgresql": PostgresServer, "mariadb": MariaDBServer}


@dataclass(frozen=True)
class Plan:
    """What is to be done. Pauses and delays are in seconds.

    :param sessions: of each worker.
    :param pause: the longest time between two kills.
    :param delay: how long the server takes over each message.
    :param lease: of the workers; ``None`` for the product's own pace.
    """

    messages: int
    kills: int
    workers: int = 2
    sessions: int = 4
    pause: float = 1.0
    delay: float = 0.2
    lease: float | None = None
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    plan: Plan
    kills: int
    lost: int
    copies: int
    """Copies beyond the first, over all messages."""
    strangers: int
    """Copies whose Message-ID the database does not know."""
    unsent: int
    """Messages that the database does not call sent."""
    recoveries: tuple[float, ...]
    """Seconds from the beginning of each attempt that a kill cut off until it was taken back."""

    @property
    def copies_allowed(self) -> int:
        """One a session a kill."""
        return self.kills * self.plan.sessions

    @property
    def recovery_p99(self) -> float:
        """Seconds, 0 when nothing was cut off."""
        ordered = sorted(self.recoveries)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        nothing = self.lost == self.strangers == self.unsent == 0
        return (
            nothing and self.copies <= self.copies_allowed and self.recovery_p99 <= PROMISED_SECONDS
        )

    def __str__(self) -> str:
        return (
            f"{self.plan.messages:,} messages, {self.kills} kills: {self.lost} lost, "
            f"{self.copies} sent twice (at most {self.copies_allowed} may be), {self.unsent} unsent, "
            f"{self.strangers} unknown; {len(self.recoveries)} cut off, taken back after "
            f"{self.recovery_p99:.1f} s (99th percentile)."
        )


def soak(folder: Path, database_url: str, plan: Plan) -> Outcome:
    """Deliver under fire, and compare."""
    dice = random.Random(plan.seed)
    with a_stage(folder, database_url, lease=plan.lease) as stage, CatchAll() as sink:
        sink.answer_after(plan.delay)
        # Sessions of workers that were killed count until their leases end.
        stage.bench.connection(sink, max_sessions=100_000)
        stage.send(plan.messages)
        workers = [_start(stage, plan) for _ in range(plan.workers)]
        kills = _kill_at_random(stage, workers, plan, dice)
        wait_until(
            lambda: _all_sent(stage),
            timeout=600,
            what="the end of all messages",
        )
        return _compare(stage, sink, plan, kills)


def _all_sent(stage: Stage) -> bool:
    with stage.bench.engine.connect() as connection:
        unsent = sa.select(Message.id).where(Message.status != Status.SENT).limit(1)
        return connection.execute(unsent).scalar() is None


def _start(stage: Stage, plan: Plan) -> ServerProcess:
    return stage.worker("--sessions", str(plan.sessions))


def _kill_at_random(
    stage: Stage, workers: list[ServerProcess], plan: Plan, dice: random.Random
) -> int:
    clock = threading.Event()
    for number in range(plan.kills):
        clock.wait(dice.uniform(0, plan.pause))
        if _all_sent(stage):
            return number
        victim = dice.randrange(len(workers))
        workers[victim].kill()
        workers[victim] = _start(stage, plan)
    return plan.kills


def _compare(stage: Stage, sink: CatchAll, plan: Plan, kills: int) -> Outcome:
    taken = Counter(one.message_id for one in sink.messages)
    rows = stage.bench.messages()
    known = {row.message_id for row in rows}
    return Outcome(
        plan,
        kills,
        lost=sum(taken[row.message_id] == 0 for row in rows),
        copies=sum(count - 1 for name, count in taken.items() if name in known),
        strangers=sum(count for name, count in taken.items() if name not in known),
        unsent=sum(row.status != Status.SENT for row in rows),
        recoveries=tuple(_recoveries(stage)),
    )


def _recoveries(stage: Stage) -> Iterator[float]:
    for row in stage.bench.attempts():
        if row.status is AttemptStatus.FAIL:
            yield (row.finished_at - row.started_at).total_seconds()


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
