"""What is claimed in one statement on PostgreSQL is what several statements would claim."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import _queries as psycopg_queries

from flask_smtp_admin.bulk import Bulk, Runs
from flask_smtp_admin.delivery import breaker, carriers, claim, claim_in_one
from flask_smtp_admin.delivery.breaker import Trouble
from flask_smtp_admin.delivery.claim import Claimed
from flask_smtp_admin.delivery.record import Carrier
from flask_smtp_admin.models import Connection, Message, Recipient, RecipientStatus, Status
from tests.delivery.bench import Bench, a_bench
from tests.rows import a_connection, a_message, add
from tests.waiting import wait_until

LEASE = timedelta(seconds=45)


@pytest.fixture
def bench(postgres_url: str) -> Iterator[Bench]:
    with a_bench(postgres_url) as made:
        add(made.engine, a_connection())
        yield made


def carrier_of(bench: Bench) -> Carrier:
    carrier = carriers.find(bench.core, 1)
    assert carrier is not None
    return carrier


def take(
    bench: Bench,
    carrier: Carrier | None = None,
    *,
    limit: int = 50,
    token: str = "mine",
    since: datetime | None = None,
    over: Runs | None = None,
) -> list[Claimed] | None:
    def act(rows: Runs) -> list[Claimed] | None:
        return claim_in_one.claim_current(
            rows,
            carrier or carrier_of(bench),
            limit=limit,
            token=token,
            since=since or bench.clock(),
            now=bench.clock(),
            lasts=LEASE,
        )

    if over is not None:
        return act(over)
    with bench.core.database.write_rows(single=True) as rows:
        return act(rows)


def numbers(taken: list[Claimed] | None) -> list[int]:
    assert taken is not None
    return [message.id for message in taken]


def assorted(bench: Bench) -> None:
    """Enqueue messages of all kinds, also such as nobody may take."""
    add(bench.engine, a_connection("Other"))
    bench.send(priority="low")
    bench.send("a@example.org", "b@example.org", "c@example.org")
    bench.send(connection="Other")
    bench.send(delay=60)
    bench.send(expires_at=bench.clock() + timedelta(seconds=5))
    bench.send(text="x" * claim.BULK_BODY_BYTES)
    bench.send(sensitive=True, at_most_once=True, priority="high")
    bench.send("jörg@example.org", subject="Schöne Grüße")
    bench.send("deleted@example.org")
    bench.clock.forward(seconds=10)
    with bench.engine.begin() as connection:
        for address, status in (("a", RecipientStatus.SENT), ("b", RecipientStatus.FAILED)):
            connection.execute(
                sa.update(Recipient)
                .where(Recipient.address == f"{address}@example.org")
                .values(status=status)
            )
        connection.execute(sa.delete(Recipient).where(Recipient.address == "deleted@example.org"))
        tried = {"attempts_count": 2, "max_attempts": 7, "lease_token": "another's, before"}
        connection.execute(sa.update(Message).where(Message.recipient_count == 3).values(tried))


def test_it_takes_what_several_statements_take(bench: Bench) -> None:
    assorted(bench)
    in_one = take(bench)
    with bench.core.database.write() as connection:
        assert claim.release(connection, "mine") == 6
        in_several = claim.claim(
            connection,
            1,
            limit=50,
            token="mine",
            now=bench.clock(),
            lease_until=bench.clock() + LEASE,
        )
    assert in_one is not None
    assert [asdict(one) for one in in_one] == [asdict(one) for one in in_several]
    assert [one.body is None for one in in_one].count(True) == 1, "a large one is read when needed"
    assert {(one.sent_before, one.failed_before) for one in in_one} == {(0, 0), (1, 1)}


def test_it_takes_no_more_than_it_was_asked_for(bench: Bench) -> None:
    low = [bench.send(priority="low") for _ in range(2)]
    high = [bench.send(priority="high") for _ in range(3)]
    normal = [bench.send() for _ in range(3)]
    assert numbers(take(bench, limit=2)) == high[:2]
    assert numbers(take(bench, limit=3)) == [high[2], *normal[:2]]
    assert numbers(take(bench, limit=9)) == [normal[2], *low]
    assert numbers(take(bench)) == []


def test_it_is_marked_with_its_lease(bench: Bench) -> None:
    bench.send()
    before = bench.clock()
    take(bench)
    [row] = bench.messages()
    assert (row.status, row.lease_token) == (Status.SENDING, "mine")
    assert before + LEASE <= row.lease_until <= bench.clock() + LEASE


def test_an_application_may_see_it_through_sqlalchemy(bench: Bench) -> None:
    bench.send("ann@example.org", "bob@example.org")
    with bench.engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        taken = take(bench, over=alone)
    assert taken is not None
    assert [one.address for one in taken[0].recipients] == ["ann@example.org", "bob@example.org"]
    assert isinstance(taken[0].body, bytes)


@pytest.mark.parametrize("change", [{"enabled": False}, {"updated_at": sa.func.now()}])
def test_nothing_is_taken_over_a_connection_that_was_changed(
    bench: Bench, change: dict[str, Any]
) -> None:
    bench.send()
    carrier = carrier_of(bench)
    with bench.engine.begin() as connection:
        connection.execute(sa.update(Connection).values(**change))
    assert take(bench, carrier) is None
    assert bench.statuses() == ["queued"]


def test_nothing_is_taken_after_the_server_asked_for_a_pause(bench: Bench) -> None:
    bench.send()
    began_at = bench.clock()
    bench.clock.forward(seconds=1)
    quota = Trouble(stage="mail", reason="Too much for now.", quota=True)
    with bench.core.database.write() as connection:
        breaker.note_failure(connection, 1, quota, bench.clock())
    assert take(bench, since=began_at) is None
    bench.clock.forward(seconds=1)
    assert numbers(take(bench, since=bench.clock())) != [], "who begins later is to find out"


def test_many_who_claim_at_once_never_get_the_same(bench: Bench) -> None:
    due = {"connection_id": 1, "due_at": bench.clock()}
    add(bench.engine, *[a_message(f"r{n}@example.org", **due) for n in range(1000)])
    carrier = carrier_of(bench)
    taken: list[list[int]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def claim_all(mine: list[int], token: str) -> None:
        start.wait()
        while found := numbers(take(bench, carrier, limit=20, token=token)):
            mine += found

    threads = [
        threading.Thread(target=claim_all, args=(mine, f"worker {n}"))
        for n, mine in enumerate(taken)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = Counter(number for mine in taken for number in mine)
    assert set(counted.values()) == {1}
    left = numbers(take(bench, limit=1000, token="the rest"))
    assert len(counted) + len(left) == 1000


def test_it_does_not_wait_for_what_another_worker_is_claiming(bench: Bench) -> None:
    theirs, ours = bench.send(), bench.send()
    with bench.engine.begin() as other, bench.engine.connect() as connection:
        other.execute(sa.select(Message.id).where(Message.id == theirs).with_for_update())
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        alone.execute(sa.text("SET lock_timeout = '20s'"))
        assert numbers(take(bench, limit=1, over=alone)) == [ours]


def test_what_another_worker_had_meanwhile_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipients that are read with it would be those from before."""
    number = bench.send("ann@example.org", "bob@example.org")
    carrier, due = carrier_of(bench), claim.due
    waits: Any = sa.literal_column("pg_advisory_xact_lock(1) IS NOT NULL", sa.Boolean())
    monkeypatch.setattr(claim, "due", lambda *values: (*due(*values), waits))
    monkeypatch.setattr(claim_in_one, "_EVERYTHING", Bulk(claim_in_one._everything()))
    found: list[list[Claimed] | None] = []
    thread = threading.Thread(target=lambda: found.append(take(bench, carrier)))
    with bench.engine.connect() as lock, bench.engine.begin() as other:
        lock.execute(sa.select(sa.func.pg_advisory_lock(1)))
        thread.start()
        wait_until(lambda: is_waiting(bench), what="the claim to have begun")
        other.execute(sa.update(Message).values(lease_token="theirs"))
        other.execute(
            sa.update(Recipient)
            .where(Recipient.address == "ann@example.org")
            .values(status=RecipientStatus.SENT)
        )
        other.commit()
        lock.execute(sa.select(sa.func.pg_advisory_unlock(1)))
        thread.join()
    assert found == [[]]
    assert bench.message(number).status == "queued"
    monkeypatch.undo()
    [taken] = take(bench) or []
    assert [one.address for one in taken.recipients] == ["bob@example.org"]


def is_waiting(bench: Bench) -> bool:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with bench.engine.connect() as connection:
        return bool(connection.execute(waiting).scalar())


def test_the_driver_takes_the_statement_apart_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer ones, or with more parameters, it does not remember."""
    # One of its own, which is not just about to be planned anew.
    monkeypatch.setattr(claim_in_one, "_EVERYTHING", Bulk(claim_in_one._everything, often=True))
    take(bench)
    known = psycopg_queries._query2pg.cache_info()
    take(bench)
    now = psycopg_queries._query2pg.cache_info()
    assert now.hits > known.hits
    assert now.misses == known.misses


def test_no_message_but_those_that_are_due_is_looked_at(bench: Bench) -> None:
    """However many there are, and whatever the server knows of them."""
    later = {"connection_id": 1, "due_at": bench.clock() + timedelta(days=1)}
    add(bench.engine, *[a_message(f"r{n}@example.org", **later) for n in range(3000)])
    due = {**later, "due_at": bench.clock()}
    add(bench.engine, *[a_message(f"s{n}@example.org", **due) for n in range(40)])
    with bench.engine.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
        connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
    before = rows_read(bench)
    for _ in range(10):  # by plans for these values, and by one for any
        take(bench, limit=2)
    assert rows_read(bench) - before < 1000


def rows_read(bench: Bench) -> int:
    """Return how many rows have been read of all tables, by index or not."""
    with bench.engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
        return int(
            connection.execute(
                sa.text("SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables")
            ).scalar_one()
        )
