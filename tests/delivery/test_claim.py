"""Claiming: the right messages in the right order, and never twice."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin.database import Collision
from flask_smtp_admin.delivery import claim
from flask_smtp_admin.models import Message, Status
from tests.delivery.bench import Bench
from tests.rows import a_connection, a_flight, a_message, add

LEASE = timedelta(seconds=45)


def take(bench: Bench, connection_id: int, *, limit: int = 50, token: str = "me") -> list[Any]:
    with bench.core.database.write() as connection:
        return claim.claim(
            connection,
            connection_id,
            limit=limit,
            token=token,
            now=bench.clock(),
            lease_until=bench.clock() + LEASE,
        )


def take_in_the_end(
    bench: Bench, connection_id: int, *, limit: int, token: str
) -> list[claim.Claimed]:
    """Claim again when the database ended the transaction to let another through, as a lane does."""
    while True:
        with suppress(Collision):
            return take(bench, connection_id, limit=limit, token=token)


@pytest.fixture
def main(each_bench: Bench) -> int:
    row = a_connection()
    add(each_bench.engine, row)
    return int(row.id)


def test_priority_goes_first_then_age(each_bench: Bench, main: int) -> None:
    bench = each_bench
    low = bench.send(priority="low")
    bench.clock.forward(seconds=1)
    normal = bench.send()
    bench.clock.forward(seconds=1)
    later = bench.send()
    bench.clock.forward(seconds=1)
    high = bench.send(priority="high")

    assert [message.id for message in take(bench, main)] == [high, normal, later, low]


def test_only_what_is_due_for_this_connection_is_taken(each_bench: Bench, main: int) -> None:
    bench = each_bench
    other = a_connection("Other")
    add(bench.engine, other)
    due = bench.send()
    bench.send(delay=60)
    bench.send(connection="Other")
    expired = bench.send(expires_at=bench.clock() + timedelta(seconds=5))
    bench.clock.forward(seconds=10)

    assert [message.id for message in take(bench, main)] == [due]
    assert bench.message(expired).status == "queued", "the sweep gives it up"
    with bench.core.database.read() as connection:
        assert claim.due_count(connection, main, bench.clock(), 10) == 0


def test_a_claim_is_marked_with_its_lease(each_bench: Bench, main: int) -> None:
    bench = each_bench
    number = bench.send("a@example.org", "b@example.org")
    before = bench.clock()

    [message] = take(bench, main, token="mine")

    row = bench.message(number)
    assert (row.status, row.lease_token) == ("sending", "mine")
    assert before + LEASE <= row.lease_until <= bench.clock() + LEASE
    assert [recipient.address for recipient in message.recipients] == [
        "a@example.org",
        "b@example.org",
    ]
    assert message.body is not None
    assert len(message.body) == row.size
    assert take(bench, main) == []


def test_what_is_not_in_flight_is_released_and_what_is_stays(each_bench: Bench, main: int) -> None:
    bench = each_bench
    waiting, in_flight = bench.send(), bench.send()
    take(bench, main, token="mine")
    row = bench.message(in_flight)
    add(bench.engine, a_flight(row))

    with bench.core.database.write() as connection:
        assert claim.release(connection, "mine") == 1

    assert bench.message(waiting).status == "queued"
    assert bench.message(in_flight).status == "sending"


def test_a_lease_is_renewed_while_there_is_a_message_under_it(each_bench: Bench, main: int) -> None:
    bench = each_bench
    number = bench.send()
    take(bench, main, token="mine")
    until = bench.clock() + timedelta(minutes=5)

    with bench.core.database.write() as connection:
        assert claim.renew(connection, "mine", [number], until)
        assert not claim.renew(connection, "somebody else's", [number], until)
        assert not claim.renew(connection, "mine", [number + 1], until + LEASE)

    assert bench.message(number).lease_until == until


def test_many_who_claim_at_once_never_get_the_same(each_bench: Bench, main: int) -> None:
    bench = each_bench
    due = {"connection_id": main, "due_at": bench.clock()}
    add(bench.engine, *[a_message(f"r{n}@example.org", **due) for n in range(2000)])
    taken: list[list[int]] = [[] for _ in range(4)]
    start = threading.Barrier(4)
    errors: list[BaseException] = []

    def claim_all(mine: list[int], token: str) -> None:
        start.wait()
        try:
            while found := take_in_the_end(bench, main, limit=20, token=token):
                mine += [message.id for message in found]
        except BaseException as error:
            errors.append(error)
            raise

    threads = [
        threading.Thread(target=claim_all, args=(mine, f"worker {n}"))
        for n, mine in enumerate(taken)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    counted = Counter(number for mine in taken for number in mine)
    assert set(counted.values()) == {1}
    rows = bench.rows(Message, Message.status == Status.SENDING)
    assert {row.id for row in rows} == set(counted)
    # With skipped locks one may see nothing while another has everything locked; nothing is lost.
    left = take(bench, main, limit=2000, token="the rest")
    assert len(counted) + len(left) == 2000


def test_enqueueing_goes_on_while_others_claim(each_bench: Bench, main: int) -> None:
    bench = each_bench
    errors: list[BaseException] = []
    done = threading.Event()
    taken: list[int] = []

    def enqueue() -> None:
        try:
            for _ in range(60):
                bench.send()
        except BaseException as error:
            errors.append(error)
            raise

    def claim_on(token: str) -> None:
        try:
            while True:
                last_round = done.is_set()
                found = take_in_the_end(bench, main, limit=5, token=token)
                taken.extend(message.id for message in found)
                if last_round and not found:
                    return
        except BaseException as error:
            errors.append(error)
            raise

    writers = [threading.Thread(target=enqueue) for _ in range(3)]
    claimers = [threading.Thread(target=claim_on, args=(f"worker {n}",)) for n in range(2)]
    for thread in writers + claimers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in claimers:
        thread.join()

    assert errors == []
    assert sorted(taken) == sorted(row.id for row in bench.messages())
    assert len(taken) == 180


def test_the_claim_is_answered_by_its_index(bench: Bench) -> None:
    """However many messages wait for a retry, only those that are due are looked at.

    On SQLite alone, which says it in words that stay the same.
    """
    asked: list[tuple[str, Any]] = []

    def note(link: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(bench.engine, "before_cursor_execute", note)
    with bench.core.database.write() as connection:
        taken = claim.claim(
            connection, 1, limit=5, token="mine", now=bench.clock(), lease_until=bench.clock()
        )
    assert taken == []
    statement, parameters = asked[-1]
    with bench.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    words = " ".join(str(row) for row in plan)
    assert "(status=? AND connection_id=? AND priority=? AND due_at<?)" in words
    assert "TEMP B-TREE" not in words
