"""A worker whose database is locked, full or has no connection left: at the claim, at the outcome.

Nothing is sent whose claim and mark are not committed; an outcome that cannot be stored is kept, and
nothing else is sent meanwhile. A database that is restarted: see tests/crashing/test_stopped.py.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_smtp_admin import database, outbox, own_database
from flask_smtp_admin.bulk import Runs
from flask_smtp_admin.database import Database
from flask_smtp_admin.delivery import holds, patience
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import ConnectionHealth, Message
from flask_smtp_admin.worker import Worker
from tests.delivery.bench import BRISK, Bench, a_bench
from tests.servers.catchall import CatchAll
from tests.servers.full_disk import full_for_postgres, full_for_sqlite
from tests.servers.patient import PatientServer
from tests.servers.postgres import PostgresServer
from tests.servers.scripted import ScriptedServer, Step, say
from tests.waiting import wait_until

Fault = Callable[[Bench], AbstractContextManager[object]]
CONNECTIONS = 4
"""More than the threads of a worker use at a time."""


@contextmanager
def locked(bench: Bench) -> Iterator[None]:
    """Another connection is writing, and does not come to its end."""
    with bench.engine.connect() as connection:
        if bench.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("LOCK TABLE smtp_admin_message IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextmanager
def full(bench: Bench) -> Iterator[None]:
    """There is no room on the disk."""
    if bench.engine.dialect.name == "sqlite":
        with full_for_sqlite(bench.engine):
            yield
    else:
        with full_for_postgres(bench.engine, "UPDATE ON smtp_admin_message"):
            yield


@contextmanager
def without_connections(bench: Bench) -> Iterator[None]:
    """Something else in the process has every connection of the pool."""
    taken: list[sa.Connection] = []

    def take() -> bool:
        try:
            taken.append(bench.core.database.bare_engine.connect())
        except sa.exc.TimeoutError:
            return False
        return True

    for _ in range(CONNECTIONS):
        wait_until(take, what="a connection that the worker has given back")
    yield
    for connection in taken:
        connection.close()


FAULTS: dict[str, Fault] = {
    "locked": locked,
    "full": full,
    "without connections": without_connections,
}


@pytest.fixture(params=["sqlite", "postgres"])
def narrow_bench(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A bench whose worker has few connections, and does not wait long for a lock.

    How long it would is a second of patience more or less, no other way through the code; but
    PostgreSQL lets everybody wait for a lock as long as it takes.
    """
    monkeypatch.setattr(own_database, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(patience, "AGAIN_AFTER", 0.05)
    url = request.getfixturevalue(f"{request.param}_url")
    with a_bench(url) as bench:
        made = own_database.make_engine(url, "")
        pool = sa.pool.QueuePool(
            made.pool._creator,
            pool_size=CONNECTIONS,
            max_overflow=0,
            timeout=0.1,
            dialect=made.dialect,
        )
        narrow = sa.create_engine(url, pool=pool)
        if request.param == "sqlite":
            sa.event.listen(narrow, "connect", own_database._prepare_sqlite)
        bench.core.database._engine = lambda: narrow
        yield bench
        made.dispose()
        narrow.dispose()


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()


def complaints(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """How often the worker said that it could not use its database, by the beginning of its words."""
    return Counter(record.getMessage().partition(":")[0] for record in caplog.records)


def is_blocked(bench: Bench) -> bool:
    """Whether somebody waits for a lock of PostgreSQL's."""
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with bench.engine.connect() as connection:
        return bool(connection.scalar(waiting))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_outcome_that_cannot_be_stored_is_kept_and_nothing_else_is_sent(
    fault: str, narrow_bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = narrow_bench
    with PatientServer() as server:
        bench.connection(server, max_sessions=1)
        careful, *others = [bench.send(at_most_once=number == 0) for number in range(4)]
        with running(bench.worker(sessions=1)):
            server.wait()
            with FAULTS[fault](bench), caplog.at_level(logging.WARNING):
                server.answer()
                wait_until(lambda: server.accepted, what="the server's acceptance")
                if fault == "locked" and bench.engine.dialect.name == "postgresql":
                    wait_until(lambda: is_blocked(bench), what="a worker that waits for the lock")
                else:
                    said = "The worker could not claim messages or write down an outcome, and tries again"
                    wait_until(lambda: complaints(caplog)[said] > 2, what="three tries")
                assert server.contents == 1, "nothing else was sent"
            wait_until(lambda: bench.statuses() == ["sent"] * 4)
        assert len(server.accepted) == 4
    assert [row.crash_count for row in bench.messages()] == [0] * 4
    assert len(bench.attempts()) == 4
    assert bench.message(careful).status == "sent"
    assert others


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_claimed_is_not_sent(
    fault: str, narrow_bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = narrow_bench
    with PatientServer() as server:
        server.answer()
        bench.connection(server)
        for _ in range(3):
            bench.send()
        with ExitStack() as stack:
            with FAULTS[fault](bench), caplog.at_level(logging.WARNING):
                stack.enter_context(running(bench.worker()))
                if fault == "locked" and bench.engine.dialect.name == "postgresql":
                    wait_until(lambda: is_blocked(bench), what="a worker that waits for the lock")
                else:
                    wait_until(lambda: complaints(caplog).total() > 2, what="some tries")
                assert not any(command.startswith("MAIL") for command in server.commands)
                assert not server.contents
            wait_until(lambda: bench.statuses() == ["sent"] * 3)
        assert len(server.accepted) == 3


def test_a_lock_that_outlasts_the_lease_costs_nothing_while_the_worker_lives(
    postgres_url: str,
) -> None:
    with PatientServer() as server, a_bench(postgres_url) as bench:
        bench.connection(server, max_sessions=1)
        careful = bench.send(at_most_once=True)
        bench.send()
        with running(bench.worker(pace=BRISK)):
            server.wait()
            until = bench.message(careful).lease_until
            with locked(bench):
                server.answer()
                wait_until(lambda: bench.clock() > until + BRISK.lease, what="the leases' end")
                assert server.contents == 1
            wait_until(lambda: bench.statuses() == ["sent"] * 2)
        assert len(server.accepted) == 2
        assert [row.crash_count for row in bench.messages()] == [0, 0]


@pytest.mark.parametrize(("code", "status"), [("250 2.0.0", "sent"), ("550 5.7.1", "failed")])
def test_an_outcome_is_stored_though_the_database_has_no_letters_for_it(
    postgres_server: PostgresServer, scripted: ScriptedServer, code: str, status: str
) -> None:
    with postgres_server.database(encoding="LATIN1") as url, a_bench(url) as bench:
        bench.connection(scripted)
        first, second = bench.send(), bench.send()
        scripted.on(Step.DOT, say(f"{code} 日本 é"))
        bench.worker().drain()

        assert bench.statuses() == [status, "sent"]
        replies = {attempt.message_id: attempt.reply for attempt in bench.attempts()}
        assert replies == {first: f"{code} \\u65e5\\u672c \\xe9", second: "250 2.0.0 taken"}


def test_a_person_need_not_know_of_a_deadlock(postgres_url: str, catchall: CatchAll) -> None:
    """The act waits for our lock on the connection's health, and we for its message."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    # Who waits looks for a deadlock after this time, and gives in. It must not be us.
    patient = sa.text("SET LOCAL deadlock_timeout = '60s'")

    with a_bench(postgres_url) as bench, ThreadPoolExecutor(1) as threads:

        def is_waiting() -> bool:
            with bench.engine.connect() as connection:
                return bool(connection.scalar(waiting))

        bench.connection(catchall)
        bench.send()
        with bench.engine.connect() as ours:
            ours.execute(patient)
            ours.execute(sa.select(ConnectionHealth).with_for_update())
            retried = threads.submit(outbox.retry, bench.core)
            wait_until(is_waiting, what="the act to wait for the lock")
            ours.execute(sa.update(Message).values(subject="Ours"))  # once the act was ended
            assert not retried.done()
            ours.rollback()
        assert retried.result() == 1


@pytest.mark.parametrize(
    ("backend", "is_hosts"), [("postgres", False), ("postgres", True), ("mariadb", False)]
)
def test_a_process_that_was_stopped_in_a_transaction_does_not_lock_others_out(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    catchall: CatchAll,
    backend: str,
    is_hosts: bool,
) -> None:
    for module in (database, own_database):
        monkeypatch.setattr(module, "IDLE_TRANSACTION_SECONDS", 1)
    url = request.getfixturevalue(f"{backend}_url")
    with a_bench(url) as bench, ExitStack() as stack:
        stopped = bench.core.database
        if is_hosts:
            engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
            stopped = Database(lambda: engine, is_hosts=lambda: True)
        number = bench.connection(catchall)
        bench.send()
        stack.enter_context(pytest.raises(OutboxUnavailable))
        holds.lock(stack.enter_context(stopped.write()), number)
        assert bench.worker().drain() == 1


def test_a_database_that_went_silent_is_given_up_by_the_system(postgres_url: str) -> None:
    address = f"{postgres_url}?connect_timeout=3"
    engine = own_database.make_engine(address, "")
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        told = driver.info.get_parameters()
    engine.dispose()
    assert told["connect_timeout"] == "3", "the address comes first"
    assert told["tcp_user_timeout"] == "30000"
    assert told["keepalives_idle"] == "30"


def test_a_lease_hangs_on_no_older_look_at_the_clock(bench: Bench) -> None:
    """The database takes its time over the answer, or the process is stopped before it has it."""

    class Slow(Database):
        def skew(self, connection: Runs) -> timedelta:
            bench.clock.forward(seconds=20)
            return super().skew(connection)

    core = replace(bench.core, database=Slow(lambda: bench.engine))
    with core.database.read() as connection:
        told = core.database_time(connection)
    assert abs(told - bench.clock()) < timedelta(seconds=10)
