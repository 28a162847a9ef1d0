"""Outages at their real length: a Redis that is away for ten minutes, a database locked for 30 s.

Run as ``python -m tests.soak --outages`` (``make soak ARGS=--outages``); the suite runs short ones.
Messages are sent all the while, where that is possible; the mail server's journal says what became
of them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.dispatch.stage import Stage, a_stage
from tests.servers.catchall import CatchAll
from tests.servers.redis import RedisServer
from tests.waiting import wait_until

REDIS_SECONDS = 600
LOCK_SECONDS = 30
PATIENCE = 120
"""Seconds in which everything must have left afterwards; more than the longest pause of anybody."""
MOST_WITHOUT_REDIS = 30
"""Seconds that a message may wait: a worker looks by itself every 15 s, however long Redis is away."""
MOST_AFTER_A_LOCK = 30
"""Seconds that a message may wait once the lock has gone; so many wait to be sent."""


@dataclass(frozen=True)
class Outage:
    """What came of it.

    :param waits: seconds from the sending of each message to the attempt that sent it.
    :param most: seconds that each of them may be.
    """

    what: str
    seconds: float
    sent: int
    lost: int
    copies: int
    waits: tuple[float, ...]
    most: float

    @property
    def holds(self) -> bool:
        """Whether each message arrived in time, and once: nobody was killed."""
        is_whole = self.lost == 0 and self.copies == 0 and self.sent > 0
        return is_whole and max(self.waits, default=0.0) <= self.most

    def __str__(self) -> str:
        return (
            f"{self.what} for {self.seconds:.0f} s: {self.sent} messages, {self.lost} lost, "
            f"{self.copies} sent twice; the longest wait was {max(self.waits, default=0.0):.1f} s, "
            f"and may be {self.most:.0f} s."
        )


def without_redis(
    folder: Path,
    database_url: str,
    *,
    seconds: float = REDIS_SECONDS,
    every: float = 5.0,
    lease: float | None = None,
) -> Outage:
    """Take the Redis away while messages are sent; it comes back empty.

    :param lease: of the worker, in seconds; ``None`` for the product's own pace.
    """
    with (
        RedisServer() as server,
        a_stage(folder, database_url, dispatch="rq", redis_url=server.url(), lease=lease) as stage,
        CatchAll() as sink,
    ):
        stage.bench.connection(sink)
        stage.worker()
        server.kill()
        for _ in _ticks(seconds, every):
            stage.send()
        server.start()
        stage.send()
        return _outcome("Redis away", seconds, stage, sink, most=MOST_WITHOUT_REDIS)


def with_a_lock(
    folder: Path, database_url: str, *, seconds: float = LOCK_SECONDS, messages: int = 600
) -> Outage:
    """Lock the database under two workers that deliver."""
    with a_stage(folder, database_url, lease=None) as stage, CatchAll() as sink:
        sink.answer_after(0.1)
        stage.bench.connection(sink, max_sessions=100)
        stage.send(messages)
        for _ in range(2):
            stage.worker("--sessions", "4")
        wait_until(lambda: len(sink.messages) > 0, what="a first message")
        with _locked(stage.bench.engine):
            threading.Event().wait(seconds)
        most = seconds + MOST_AFTER_A_LOCK
        return _outcome("Database locked", seconds, stage, sink, most=most)


_LOCK = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE smtp_admin_message IN ACCESS EXCLUSIVE MODE",
    "mysql": "LOCK TABLES smtp_admin_message WRITE",
}


@contextmanager
def _locked(engine: sa.Engine) -> Iterator[None]:
    with engine.connect() as connection:
        connection.exec_driver_sql(_LOCK[engine.dialect.name])
        yield
        connection.rollback()
        if engine.dialect.name == "mysql":
            connection.exec_driver_sql("UNLOCK TABLES")


def _ticks(seconds: float, every: float) -> Iterator[int]:
    clock = threading.Event()
    for number in range(max(1, round(seconds / every))):
        yield number
        clock.wait(every)


def _outcome(what: str, seconds: float, stage: Stage, sink: CatchAll, *, most: float) -> Outage:
    wait_until(
        lambda: set(stage.bench.statuses()) == {"sent"}, timeout=PATIENCE, what="all to be sent"
    )
    rows = {row.id: row for row in stage.bench.messages()}
    taken = Counter(one.message_id for one in sink.messages)
    return Outage(
        what,
        seconds,
        sent=len(rows),
        lost=sum(taken[row.message_id] == 0 for row in rows.values()),
        copies=sum(taken.values()) - len(taken),
        waits=tuple(
            (attempt.started_at - rows[attempt.message_id].created_at).total_seconds()
            for attempt in stage.bench.attempts()
        ),
        most=most,
    )
