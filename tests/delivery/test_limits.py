"""The limits of a connection hold over several workers, and end by themselves."""

from __future__ import annotations

import threading

import pytest

from flask_smtp_admin.models import BreakerState
from tests.delivery.bench import Bench
from tests.rows import add, an_attempt
from tests.servers.catchall import CatchAll


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
