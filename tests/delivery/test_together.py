"""What lanes want written in one statement on PostgreSQL is what several statements would write."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import _queries as psycopg_queries

from flask_smtp_admin.bulk import Bulk
from flask_smtp_admin.delivery import together
from flask_smtp_admin.direct import Direct
from flask_smtp_admin.models import Attempt, Message, Recipient
from tests.delivery.bench import Bench, a_bench
from tests.servers.postgres import PostgresServer
from tests.servers.scripted import Peer, ScriptedServer, Step
from tests.waiting import wait_until

VOLATILE = {
    *("id", "message_id", "lease_token", "dialogue", "milliseconds", "port", "worker", "seq"),
    *("created_at", "due_at", "started_at", "finished_at", "last_attempt_at", "updated_at"),
}
REPLIES = {
    "sent": "250 2.1.5 fine",
    "later": "451 4.2.0 try later",
    "never": "550 5.1.1 no such person",
}


def answer(peer: Peer) -> None:
    line = peer.server.commands[-1]
    peer.say(next(reply for word, reply in REPLIES.items() if f"<{word}" in line))


def outcomes(bench: Bench, recipients: Sequence[tuple[str, ...]]) -> list[list[dict[str, Any]]]:
    """Deliver to a server that takes some; return what is in the tables, but for times and numbers."""
    with ScriptedServer() as server:
        server.always(Step.RCPT, answer)
        bench.connection(server, max_sessions=4)
        for number, each in enumerate(recipients):
            bench.send(*each, sensitive=number % 8 == 0)
        bench.worker(sessions=4).drain()
    found = []
    for table, order in (
        (Message, Message.first_recipient),
        (Attempt, Attempt.recipient),
        (Recipient, Recipient.address),
    ):
        with bench.engine.connect() as connection:
            rows = connection.execute(sa.select(table.__table__).order_by(order)).mappings().all()
        found.append([{name: _kept(name, value) for name, value in row.items()} for row in rows])
    found.append([{"body": number} for number in bench.bodies()])
    return found


def _kept(name: str, value: object) -> object:
    """Return the value, or of one that differs from run to run whether there is any."""
    return value is not None if name in VOLATILE else value


def test_the_rows_are_the_same(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipients = [
        (f"sent{number}-{kind}@example.org", f"{kind}{number}@example.org")
        for number in range(12)
        for kind in ("later", "never", "sent-too")
    ]
    written: list[int] = []
    write = together.write

    def counted(connection: Any, lanes: Any) -> None:
        write(connection, lanes)
        written.append(len(lanes))

    monkeypatch.setattr(together, "write", counted)
    with postgres_server.database() as url, a_bench(url) as bench:
        in_one = outcomes(bench, recipients)
    assert sum(written) > 0
    written.clear()
    monkeypatch.setattr(together, "is_possible", lambda dialect: False)
    with postgres_server.database() as url, a_bench(url) as bench:
        apart = outcomes(bench, recipients)
    assert written == []
    assert in_one == apart


def test_lanes_go_on_while_the_database_takes_its_time(postgres_url: str) -> None:
    """What one lane wants written waits for a lock; another one greets its server meanwhile."""
    with a_bench(postgres_url) as bench, ScriptedServer() as server, bench.engine.connect() as link:
        is_locked, may_greet = threading.Event(), threading.Event()

        def lock_and_take(peer: Peer) -> None:
            link.execute(sa.text("LOCK TABLE smtp_admin_attempt IN ACCESS EXCLUSIVE MODE"))
            is_locked.set()
            peer.say("250 2.0.0 taken")

        def greet_late(peer: Peer) -> None:
            may_greet.wait(60)
            peer.say("220 late.example.test ESMTP")

        server.on(Step.DOT, lock_and_take)
        server.on(Step.BANNER, None, greet_late)
        bench.connection(server, max_sessions=2)
        for _ in range(20):
            bench.send()
        worker = bench.worker(sessions=2)
        thread = threading.Thread(target=worker.drain)
        thread.start()
        try:
            wait_until(is_locked.is_set)
            wait_until(lambda: _waits_for_the_lock(bench), what="the outcome to be written")
            may_greet.set()
            wait_until(lambda: greetings(server) == 2, what="the other session to go on")
            assert _waits_for_the_lock(bench)
        finally:
            may_greet.set()
            link.rollback()
            thread.join()
        assert bench.statuses() == ["sent"] * 20


def test_the_server_plans_it_now_and_then_and_not_each_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_EVERYTHING", Bulk(together._everything(), often=True))
    runs = 300
    before_it_keeps_one = 5
    with a_bench(postgres_url) as bench, bench.core.database.write_rows(single=True) as rows:
        for _ in range(runs):
            together.write(rows, [])
        assert isinstance(rows, Direct)
        [kept, anew, versions] = rows.exec_driver_sql(
            "SELECT sum(generic_plans), sum(custom_plans), count(*) FROM pg_prepared_statements",
            (),
        ).first()
    assert versions == 3, "it is planned for larger tables at the 8th run and the 128th"
    assert anew <= versions * before_it_keeps_one
    assert kept + anew == runs, "it was prepared at once"


def test_the_driver_takes_the_statement_apart_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer ones, or with more parameters, it does not remember."""
    # One of its own, which is not just about to be planned anew.
    monkeypatch.setattr(together, "_EVERYTHING", Bulk(together._everything, often=True))
    with a_bench(postgres_url) as bench, bench.core.database.write_rows(single=True) as rows:
        together.write(rows, [])
        known = psycopg_queries._query2pg.cache_info()
        together.write(rows, [])
        now = psycopg_queries._query2pg.cache_info()
    assert now.hits == known.hits + 1
    assert now.misses == known.misses


def greetings(server: ScriptedServer) -> int:
    return sum(command.startswith("EHLO") for command in server.commands)


def _waits_for_the_lock(bench: Bench) -> bool:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with bench.engine.connect() as connection:
        return bool(connection.execute(waiting).scalar())
