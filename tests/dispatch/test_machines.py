"""Workers that share nothing but PostgreSQL and Redis: folders, host names and clocks are their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from flask_smtp_admin.core import utc_now
from flask_smtp_admin.models import BreakerState, Worker
from tests.dispatch.stage import Machine, Stage, a_stage, terminate
from tests.servers.catchall import CatchAll
from tests.servers.process import ServerMissing, skip_or_fail
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


def test_a_breaker_holds_over_both(stage: Stage, catchall: CatchAll) -> None:
    """Whoever finds the connection broken, the other one leaves it alone, too."""
    connection = stage.bench.connection(catchall, max_sessions=4)
    catchall.stop()
    processes = [stage.worker_on(machine, "--sessions", "2") for machine in (SLOW, FAST)]
    stage.send(20)
    wait_until(lambda: stage.bench.health(connection).failures > 0)
    for process in processes:
        terminate(process)
    wait_until(lambda: not stage.workers(), what="the workers to sign off")
    tries = len(stage.bench.attempts())
    health = stage.bench.health(connection)
    assert tries <= 8, "those that had begun beside each other"
    assert timedelta() < health.retry_at - health.failing_since <= timedelta(seconds=31)
    assert [row.attempts_count for row in stage.bench.messages()] == [0] * 20
