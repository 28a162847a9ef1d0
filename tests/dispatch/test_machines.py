"""Workers that share nothing but PostgreSQL and Redis: folders, host names and clocks are their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path

import pytest

from flask_smtp_admin.core import utc_now
from flask_smtp_admin.models import BreakerState, ConnectionHealth, Worker
from tests.dispatch.stage import Machine, Stage, a_stage
from tests.servers.catchall import CatchAll
from tests.servers.process import ServerMissing, skip_or_fail
from tests.servers.scripted import Peer, ScriptedServer, Step, say, silence
from tests.waiting import wait_until

SLOW = Machine("slow-clock", -60)
FAST = Machine("fast-clock", 60)


@pytest.fixture
def stage(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Stage]:
    """Leases of three seconds, so that a clock that counted would end them."""
    with _stage(tmp_path, postgres_url, redis_url, lease=3.0) as made:
        yield made


@pytest.fixture
def steady_stage(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Stage]:
    """The product's own pace: at a quicker one a loaded machine makes a worker look gone."""
    with _stage(tmp_path, postgres_url, redis_url, lease=None) as made:
        yield made


def _stage(
    folder: Path, database_url: str, redis_url: str, lease: float | None
) -> AbstractContextManager[Stage]:
    try:
        SLOW.command([])
    except ServerMissing as missing:
        skip_or_fail(missing)
    return a_stage(folder / "host", database_url, dispatch="rq", redis_url=redis_url, lease=lease)


def _hosts(stage: Stage) -> set[str]:
    return {row.hostname for row in stage.bench.rows(Worker)}


def _carriers(stage: Stage) -> Counter[str]:
    """Count the accepted messages by the machine that sent them."""
    return Counter(row.worker.split(":")[1] for row in stage.bench.attempts())


def test_both_deliver_and_nothing_goes_twice(stage: Stage, catchall: CatchAll) -> None:
    """Their clocks are two minutes apart, the leases last three seconds and the server is slow."""
    catchall.answer_after(0.05)
    stage.bench.connection(catchall, max_sessions=4)
    for machine in (SLOW, FAST):
        stage.worker_on(machine, "--sessions", "2")
    assert _hosts(stage) == {SLOW.name, FAST.name}
    stage.send(200)
    stage.wait_until_sent(200)

    assert len(catchall.messages) == 200
    assert set(_carriers(stage)) == {SLOW.name, FAST.name}
    assert [row.crash_count for row in stage.bench.messages()] == [0] * 200
    now = utc_now()
    for attempt in stage.bench.attempts():
        assert abs(attempt.started_at - now) < timedelta(seconds=50), "it goes by the shared clock"
    for worker in stage.bench.rows(Worker):
        assert abs(worker.seen_at - now) < timedelta(seconds=50)


def test_a_limit_holds_over_both(stage: Stage, catchall: CatchAll) -> None:
    connection = stage.bench.connection(catchall, max_sessions=4, limit_per_minute=30)
    for machine in (SLOW, FAST):
        stage.worker_on(machine, "--sessions", "2")
    stage.send(100)
    wait_until(lambda: stage.bench.health(connection).breaker is BreakerState.PAUSED)
    wait_until(lambda: "sending" not in stage.bench.statuses())

    assert len(catchall.messages) == 30
    assert stage.bench.statuses().count("queued") == 70
    room_at = stage.bench.health(connection).retry_at
    assert room_at - utc_now() < timedelta(seconds=61)


def test_the_sessions_of_a_connection_are_counted_over_both(
    steady_stage: Stage, catchall: CatchAll
) -> None:
    stage = steady_stage
    catchall.answer_after(0.02)
    stage.bench.connection(catchall, max_sessions=3)
    for machine in (SLOW, FAST):
        stage.worker_on(machine, "--sessions", "3")
    stage.send(120)
    stage.wait_until_sent(120)
    assert catchall.most_at_work <= 3


PAUSES = (60, 120, 300)
"""Seconds for which the docs have a broken connection left alone, one after the other."""
SESSIONS = 2
SIDE_BY_SIDE = 2 * SESSIONS
"""Tries at most of two workers before one of them knows that the first has failed."""


def _let_all_look(stage: Stage, times: int = 6) -> None:
    """Let each worker look so many times at what it could do, while they run."""
    for _ in range(times):
        before = _sweeps(stage)
        wait_until(
            lambda before=before: not before & _sweeps(stage),  # type: ignore[misc]
            what="a sweep of each worker",
        )


def _sweeps(stage: Stage) -> set[tuple[str, datetime | None]]:
    """Return when each worker has looked last for what nobody rang for."""
    return {(row.id, row.swept_at) for row in stage.bench.rows(Worker)}


def _pauses_over(since: datetime, pauses: Sequence[int]) -> int:
    """Return how many pauses one after the other may have passed since then."""
    seconds = (utc_now() - since).total_seconds() + 1  # clocks may be a little apart
    return sum(end <= seconds for end in accumulate(pauses))


def test_a_breaker_holds_over_both(stage: Stage) -> None:
    """Whoever finds the connection broken, the other one leaves it alone, too.

    Both run on, and look again and again. When the pause is over, one of them tries it, and the other
    one does not while it waits for the server.
    """
    asking: list[Peer] = []

    def ask(peer: Peer) -> None:
        asking.append(peer)
        silence(peer)

    with ScriptedServer() as server:
        server.always(Step.MAIL, say("530 5.7.0 Must issue a STARTTLS command first"))
        connection = stage.bench.connection(server, max_sessions=4)
        for machine in (SLOW, FAST):
            stage.worker_on(machine, "--sessions", str(SESSIONS))
        stage.send(60)  # more than one worker claims at once
        wait_until(lambda: stage.bench.health(connection).failures, what="a failure")
        broken = stage.bench.health(connection)
        assert broken.breaker is BreakerState.OPEN
        _let_all_look(stage)
        tries = len(stage.bench.attempts())
        assert tries <= SIDE_BY_SIDE + _pauses_over(broken.failing_since, PAUSES), "it is broken"

        server.always(Step.MAIL, ask)
        ended_at = utc_now()
        stage.bench.change(ConnectionHealth, retry_at=ended_at)
        wait_until(lambda: asking, what="a try after the pause")
        _let_all_look(stage)
        assert len(asking) <= 1 + _pauses_over(ended_at, PAUSES), "one of them was to try it"

    assert _hosts(stage) == {SLOW.name, FAST.name}
    assert [row.attempts_count for row in stage.bench.messages()] == [0] * 60
    assert stage.bench.health(connection).failing_since == broken.failing_since
