"""What was asked for a message holds however many others wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_smtp_admin.models import Message
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll

LETTERS = "abcdefghijklmn"
WAITING: int = 2 ** len(LETTERS)
AT_A_TIME = 4
"""Messages that may leave within an hour, so that most of the others wait."""


def fill_up(bench: Bench) -> None:
    """Have as many more wait as would take hours. Each has a key: ``order-`` and some of the letters.

    They are copies of a message, twice as many with each letter, and have neither recipients nor
    bodies: they come too late to be sent.
    """
    bench.send(idempotency_key="order-")
    columns = {c.name: c for c in Message.__table__.c if c.name != "id"}
    for letter in LETTERS:
        changed = {name: columns[name] + letter for name in ("idempotency_key", "message_id")}
        copies = sa.select(*{**columns, **changed}.values()).where(
            Message.idempotency_key.is_not(None)
        )
        with bench.engine.begin() as connection:
            connection.execute(
                sa.insert(Message).from_select([*columns], copies, include_defaults=False)
            )


def stored(bench: Bench) -> int:
    with bench.engine.connect() as connection:
        return connection.scalars(sa.select(sa.func.count()).select_from(Message)).one()


def left(catchall: CatchAll) -> list[str]:
    """Return to whom messages went, and forget them."""
    found = [message.recipients[0] for message in catchall.messages]
    catchall.clear()
    return found


@pytest.fixture
def bench(each_bench: Bench, catchall: CatchAll) -> Bench:
    """One with a long queue, ten of which come first and can be sent."""
    each_bench.connection(catchall, limit_per_hour=AT_A_TIME, max_sessions=1)
    for n in range(10):
        each_bench.send(f"r{n}@example.org")
    fill_up(each_bench)
    return each_bench


def test_those_that_are_urgent_late_or_delayed_are_found_among_many(
    bench: Bench, catchall: CatchAll
) -> None:
    delayed = bench.send("delayed@example.org", priority="high", delay=timedelta(minutes=90))
    expires_at = bench.clock() + timedelta(minutes=1)
    late = bench.send("late@example.org", priority="high", expires_at=expires_at)
    bench.send("urgent@example.org", priority="high")
    bench.clock.forward(minutes=2)

    worker = bench.worker()
    worker.sweep()
    assert worker.drain() == AT_A_TIME
    assert left(catchall) == ["urgent@example.org", *(f"r{n}@example.org" for n in range(3))]
    message = bench.message(late)
    assert (message.status, message.reason) == (
        "failed",
        "It expired before it could be delivered.",
    )
    assert bench.recipients(late) == {"late@example.org": "failed"}
    assert bench.message(delayed).status == "queued"

    bench.clock.forward(minutes=61)
    assert bench.worker().drain() == AT_A_TIME
    assert left(catchall) == [f"r{n}@example.org" for n in range(3, 7)], "it is not due yet"
    bench.clock.forward(minutes=61)
    assert bench.worker().drain() == AT_A_TIME
    assert left(catchall) == ["delayed@example.org", *(f"r{n}@example.org" for n in range(7, 10))]
    assert bench.message(late).status == "failed"


def test_a_key_is_known_among_many(bench: Bench) -> None:
    [first] = bench.rows(Message, Message.idempotency_key == "order-bdfk")
    count = stored(bench)
    assert count > WAITING
    assert bench.send(idempotency_key="order-bdfk") == first.id
    assert stored(bench) == count
    assert bench.send(idempotency_key="order-z") > first.id
    assert stored(bench) == count + 1
