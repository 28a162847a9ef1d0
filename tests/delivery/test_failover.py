"""A connection that is down hands its messages to the one that takes over."""

from __future__ import annotations

from typing import Any

import pytest

from flask_smtp_admin.models import Connection
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll


@pytest.fixture
def pair(bench: Bench, catchall: CatchAll) -> tuple[int, int]:
    """A connection to nowhere, and the one that takes over."""
    working = bench.connection(catchall, "Second", position=1)
    broken = bench.connection(catchall, "First", position=0, fallback_id=working)
    bench.change(Connection, Connection.id == broken, port=1)
    return broken, working


def break_down(bench: Bench) -> None:
    for _ in range(5):
        bench.work()
        bench.clock.forward(seconds=31)


def sweep_and_work(bench: Bench) -> int:
    worker = bench.worker()
    worker.sweep()
    return worker.drain_alone()


def test_due_messages_go_over_the_fallback_once_the_breaker_is_open(
    bench: Bench, pair: tuple[int, int]
) -> None:
    number = bench.send()
    later = bench.send(delay=100_000)
    assert sweep_and_work(bench) == 0, "one failure is not enough"
    break_down(bench)

    assert sweep_and_work(bench) == 1

    message = bench.message(number)
    assert (message.status, message.connection_id) == ("sent", pair[1])
    assert bench.message(later).connection_id == pair[0], "by then it may work again"


def test_a_message_whose_connection_was_chosen_waits_for_it(
    bench: Bench, pair: tuple[int, int]
) -> None:
    number = bench.send(connection="First")
    break_down(bench)

    assert sweep_and_work(bench) == 0
    assert bench.message(number).connection_id == pair[0]


def test_nothing_is_handed_to_a_fallback_that_is_down_as_well(
    bench: Bench, pair: tuple[int, int], catchall: CatchAll
) -> None:
    catchall.stop()
    other: Any = bench.send(connection="Second")
    number = bench.send()
    break_down(bench)

    assert sweep_and_work(bench) == 0
    assert bench.message(number).connection_id == pair[0]
    assert bench.message(other).status == "queued"
