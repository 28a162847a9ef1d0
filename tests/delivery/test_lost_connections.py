"""Messages whose connection was disabled or deleted while they were elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from flask_smtp_admin import connections, outbox
from flask_smtp_admin.core import Core
from flask_smtp_admin.delivery import claim
from flask_smtp_admin.models import Message
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll


@pytest.fixture
def two(each_bench: Bench, catchall: CatchAll) -> tuple[int, int]:
    return (
        each_bench.connection(catchall, "First", position=0),
        each_bench.connection(catchall, "Second", position=1),
    )


def take_in_hand(bench: Bench, connection_id: int) -> None:
    """Claim everything, as a worker would."""
    with bench.core.database.write() as written:
        claim.claim(
            written,
            connection_id,
            limit=10,
            token="in hand",
            now=bench.clock(),
            lease_until=bench.clock() + timedelta(seconds=45),
        )


def sweep_and_work(bench: Bench) -> int:
    worker = bench.worker()
    worker.sweep()
    return worker.drain_alone()


def test_a_message_in_hand_goes_elsewhere_when_it_is_released(
    each_bench: Bench, two: tuple[int, int]
) -> None:
    bench = each_bench
    number = bench.send()
    take_in_hand(bench, two[0])
    connections.disable(bench.core, two[0])
    with bench.core.database.write() as written:
        claim.release(written, "in hand")

    assert sweep_and_work(bench) == 1
    assert bench.message(number).connection_id == two[1]


@pytest.mark.parametrize("act", [connections.disable, connections.delete])
def test_a_failed_message_that_is_retried_goes_elsewhere(
    each_bench: Bench, two: tuple[int, int], act: Callable[[Core, int], object]
) -> None:
    bench = each_bench
    number = bench.send()
    bench.change(Message, Message.id == number, status="failed")
    act(bench.core, two[0])

    assert outbox.retry(bench.core, Message.id == number) == 1
    assert bench.message(number).connection_id == two[1]
    bench.work()
    assert bench.message(number).status == "sent"


def test_a_message_for_which_the_connection_was_chosen_waits(
    each_bench: Bench, two: tuple[int, int]
) -> None:
    bench = each_bench
    number = bench.send(connection="First")
    connections.disable(bench.core, two[0])
    assert sweep_and_work(bench) == 0
    assert bench.message(number).connection_id == two[0]
