"""A connection that is down hands its messages to the one that takes over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Message
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll


@pytest.fixture
def pair(bench: Bench, catchall: CatchAll) -> tuple[int, int]:
    """A connection to nowhere, and the one that is named to take over."""
    working = bench.connection(catchall, "Second", position=2)
    broken = bench.connection(catchall, "First", position=0, fallback_id=working, hands_over=False)
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


def breaks(bench: Bench, server: CatchAll, caption: str, **fields: Any) -> int:
    """Store a connection that leads nowhere."""
    number = bench.connection(server, caption, **fields)
    bench.change(Connection, Connection.id == number, port=1)
    return number


def test_the_next_in_order_takes_over_where_none_is_named(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    breaks(bench, catchall, "First", position=0)
    bench.connection(catchall, "Off", position=1, enabled=False)
    breaks(bench, catchall, "Broken too", position=2)
    later = bench.connection(catchall, "Third", position=4)
    next_one = bench.connection(catchall, "Second", position=3)
    broken = bench.send(connection="Broken too")
    number = bench.send()
    break_down(bench)

    assert sweep_and_work(bench) == 1
    assert next_one != later
    message = bench.message(number)
    assert (message.status, message.connection_id) == ("sent", next_one)
    assert bench.message(broken).status == "queued", "its connection was chosen on purpose"


def test_the_log_says_why_it_went_over_another_connection(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    breaks(bench, catchall, "First", position=0)
    bench.connection(catchall, "Second", position=1, max_sessions=4)
    numbers = [bench.send() for _ in range(30)]
    break_down(bench)
    bench.worker().sweep()
    assert bench.worker(sessions=4).drain() == 30

    for number in numbers:
        last = bench.attempts(number)[-1]
        assert (last.connection, last.status) == ("Second", "SUCCESS")
        assert last.detour.startswith("Handed over, because First does not work (")
    first = bench.attempts(numbers[0])[0]
    assert (first.connection, first.detour) == ("First", None)


def test_senders_go_to_the_next_connection_that_carries_them_by_the_same_right(
    bench: Bench, catchall: CatchAll
) -> None:
    news = "news@example.org"
    breaks(bench, catchall, "Newsletters", position=0, sender_patterns=news)
    breaks(bench, catchall, "All", position=1)
    bench.connection(catchall, "All the rest", position=2)
    bench.connection(catchall, "Others", position=3, sender_patterns="shop@example.net")
    newsletter, order = bench.send(), bench.send()
    bench.change(Message, Message.id == newsletter, sender=news, connection_id=1)
    break_down(bench)

    assert sweep_and_work(bench) == 1
    assert bench.message(order).status == "sent"
    assert bench.message(newsletter).status == "queued", "another one must not send in its name"

    spare = bench.connection(catchall, "Spare", position=4, sender_patterns="*@example.org")
    assert sweep_and_work(bench) == 1
    assert bench.message(newsletter).connection_id == spare


def test_mail_waits_where_the_connection_does_not_hand_over(
    bench: Bench, catchall: CatchAll
) -> None:
    first = breaks(bench, catchall, "First", position=0, hands_over=False)
    bench.connection(catchall, "Second", position=1)
    number = bench.send()
    break_down(bench)

    assert sweep_and_work(bench) == 0
    assert bench.message(number).connection_id == first


def test_the_next_in_order_takes_over_when_the_named_one_is_broken_too(
    bench: Bench, pair: tuple[int, int], catchall: CatchAll
) -> None:
    bench.change(Connection, Connection.id == pair[0], hands_over=True)
    bench.change(Connection, Connection.id == pair[1], port=1)
    third = bench.connection(catchall, "Third", position=1)
    bench.send(connection="Second")
    number = bench.send()
    break_down(bench)

    assert sweep_and_work(bench) == 1
    assert bench.message(number).connection_id == third


def test_a_fallback_that_was_down_and_has_nothing_to_send_takes_over_again(
    bench: Bench, pair: tuple[int, int]
) -> None:
    broken, fallback = pair
    number = bench.send()
    break_down(bench)
    past = bench.clock() - timedelta(days=30)
    down = ConnectionHealth.connection_id == fallback
    bench.change(ConnectionHealth, down, breaker=BreakerState.OPEN, failures=8, retry_at=past)
    assert sweep_and_work(bench) == 1
    assert bench.message(number).connection_id == fallback
    assert bench.health(fallback).breaker is BreakerState.CLOSED
    assert bench.health(broken).breaker is BreakerState.OPEN


def let_only_the_other_be_tried(bench: Bench, number: int) -> None:
    bench.clock.forward(minutes=11)
    soon = bench.clock() + timedelta(minutes=1)
    bench.change(ConnectionHealth, ConnectionHealth.connection_id == number, retry_at=soon)


def test_two_that_take_over_for_each_other_hand_no_queue_back_and_forth(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    second = breaks(bench, catchall, "Second", position=1)
    first = breaks(bench, catchall, "First", position=0, fallback_id=second)
    bench.change(Connection, Connection.id == second, fallback_id=first)
    numbers = [bench.send() for _ in range(30)]
    bench.send(connection="Second")
    break_down(bench)
    for _ in range(6):
        let_only_the_other_be_tried(bench, first)
        assert sweep_and_work(bench) == 0
    assert sum(bench.message(number).detour is not None for number in numbers) <= 1

    bench.change(Connection, Connection.id == second, port=catchall.port)
    let_only_the_other_be_tried(bench, first)
    assert bench.worker().drain(sweeps=True) == 31, "it was tried with its own, and has all then"


def test_a_broken_connection_is_tried_though_every_sweep_comes_before_a_delivery(
    bench: Bench, pair: tuple[int, int], catchall: CatchAll
) -> None:
    broken, _ = pair
    bench.send()
    break_down(bench)
    assert sweep_and_work(bench) == 1, "over the fallback"
    bench.change(Connection, Connection.id == broken, port=catchall.port)
    bench.clock.forward(hours=2)
    number = bench.send()
    assert sweep_and_work(bench) == 1
    assert bench.message(number).connection_id == broken
    assert bench.health(broken).breaker is BreakerState.CLOSED


@pytest.mark.parametrize("named", [True, False])
def test_mail_does_not_wait_for_one_that_is_to_be_tried_while_another_works(
    bench: Bench, catchall: CatchAll, named: bool
) -> None:
    second = breaks(bench, catchall, "Second", position=1)
    first = breaks(bench, catchall, "First", position=0, fallback_id=second if named else None)
    third = bench.connection(catchall, "Third", position=2)
    bench.send(connection="Second")
    numbers = [bench.send() for _ in range(10)]
    break_down(bench)
    let_only_the_other_be_tried(bench, first)
    bench.worker().sweep()
    assert [bench.message(number).connection_id for number in numbers] == [third] * 10
