"""The limits of a connection hold over several workers, and end by themselves."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

import pytest

from flask_smtp_admin.models import BreakerState
from flask_smtp_admin.models import Worker as WorkerRow
from tests.delivery.bench import BRISK, Bench
from tests.rows import add, an_attempt
from tests.servers.catchall import CatchAll
from tests.test_worker import running
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("field", "span"),
    [
        ("limit_per_minute", {"minutes": 1}),
        ("limit_per_hour", {"hours": 1}),
        ("limit_per_day", {"days": 1}),
    ],
)
def test_so_many_messages_leave_and_the_others_wait_for_room(
    bench: Bench, catchall: CatchAll, field: str, span: dict[str, float]
) -> None:
    connection = bench.connection(catchall, **{field: 3})  # type: ignore[arg-type]
    for _ in range(5):
        bench.send()

    assert bench.work() == 3
    assert bench.work() == 0
    health = bench.health(connection)
    assert health.breaker is BreakerState.PAUSED
    assert "limit of 3 messages" in health.last_reason
    assert bench.codes().count("connection_failed") == 0

    bench.clock.forward(**span)
    assert bench.work() == 2
    assert bench.health(connection).breaker is BreakerState.CLOSED
    assert bench.codes().count("connection_recovered") == 0, "it had not failed"


def test_workers_together_keep_within_the_limit(each_bench: Bench, catchall: CatchAll) -> None:
    bench = each_bench
    bench.connection(catchall, limit_per_hour=10, max_sessions=4)
    for _ in range(40):
        bench.send()
    workers = [bench.worker(sessions=4) for _ in range(3)]
    threads = [threading.Thread(target=worker.drain) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(catchall.messages) == 10
    assert bench.statuses().count("queued") == 30


def test_a_try_that_never_reached_the_server_does_not_count(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall, limit_per_hour=2)
    catchall.stop()
    bench.send()
    bench.send()
    bench.work()
    catchall.start()
    bench.clock.forward(seconds=10)

    assert bench.work() == 2


def test_a_message_whose_worker_was_killed_counts(bench: Bench, catchall: CatchAll) -> None:
    connection = bench.connection(catchall, limit_per_hour=2)
    cut_off = bench.message(bench.send())
    add(
        bench.engine,
        an_attempt(
            cut_off, connection_id=connection, counted=False, started_at=bench.clock(), stage=None
        ),
    )
    bench.send()

    assert bench.work() == 1
    assert bench.statuses() == ["sent", "queued"]


@pytest.mark.parametrize(
    ("field", "step"),
    [
        ("limit_per_minute", timedelta(seconds=10)),
        ("limit_per_hour", timedelta(minutes=10)),
        ("limit_per_day", timedelta(hours=4)),
    ],
)
def test_so_many_leave_again_as_have_left_the_window(
    bench: Bench, catchall: CatchAll, field: str, step: timedelta
) -> None:
    """Room comes back in the measure in which it was used, and not before, nor all at once."""
    window = 6 * step
    connection = bench.connection(catchall, max_sessions=4, **{field: 4})  # type: ignore[arg-type]
    began = bench.clock()
    ends = [began + window - ago for ago in (5 * step, 3 * step, step)]
    for end, count in zip(ends, (2, 1, 1), strict=True):
        for _ in range(count):
            message = bench.message(bench.send(delay=window * 2))
            left_at = end - window
            add(bench.engine, an_attempt(message, connection_id=connection, started_at=left_at))
    for _ in range(10):
        bench.send()

    for end, count in zip(ends, (2, 1, 1), strict=True):
        assert bench.worker().drain() == 0
        health = bench.health(connection)
        assert (health.breaker, health.retry_at) == (BreakerState.PAUSED, end)
        move_to(bench, end - step / 2)
        assert bench.worker().drain() == 0, "it is not over yet"
        move_to(bench, end)
        assert bench.worker().drain() == count
    assert bench.statuses().count("sent") == len(catchall.messages) == 4


def move_to(bench: Bench, time: datetime) -> None:
    """Set the clock, which goes on from there."""
    bench.clock.shift += time - bench.clock()


@pytest.mark.parametrize("is_rung", [True, False], ids=["rung", "not rung"])
def test_a_worker_that_runs_goes_on_by_itself_when_there_is_room(
    bench: Bench, catchall: CatchAll, *, is_rung: bool
) -> None:
    connection = bench.connection(catchall, max_sessions=4, limit_per_hour=3)
    for _ in range(4):
        bench.send()
    assert bench.work() == 3
    bench.clock.forward(minutes=40)
    with running(bench.worker(pace=BRISK)) as worker:
        wait_until(lambda: bench.health(connection).breaker is BreakerState.PAUSED, what="a pause")
        bench.clock.forward(minutes=19)
        let_it_look(bench)
        assert bench.statuses().count("sent") == 3, "it is not over yet"
        bench.clock.forward(minutes=1)
        if is_rung:
            worker.bell.ring()
        wait_until(lambda: bench.statuses() == ["sent"] * 4, what="the fourth")
    assert bench.health(connection).breaker is BreakerState.CLOSED


def let_it_look(bench: Bench) -> None:
    """Wait until the worker has looked at what is due, by the clock as it is now."""
    for _ in range(2):  # it says so at the beginning of a look
        since = bench.clock()
        wait_until(lambda since=since: swept_at(bench) > since, what="a look")  # type: ignore[misc]


def swept_at(bench: Bench) -> datetime:
    """Return when a worker has looked last."""
    times = [row.swept_at for row in bench.rows(WorkerRow) if row.swept_at is not None]
    return max(times, default=datetime.min.replace(tzinfo=timezone.utc))
