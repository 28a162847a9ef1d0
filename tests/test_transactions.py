"""When a send counts: with the caller's transaction if that has writes, otherwise at once.

Each test says what the host did, what is stored, and what was told: the signal and the wake-up
follow the commit, and never come when it does not.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_mail import Message
from flask_sqlalchemy import SQLAlchemy

from flask_smtp_admin import OutboxMessage, signals
from flask_smtp_admin.database import explained
from flask_smtp_admin.errors import MessageError, OutboxUnavailable
from flask_smtp_admin.host_database import changes_data, holds_writes, watch
from tests.apps import Host, core_of
from tests.rows import a_connection, add
from tests.waiting import wait_until


def send(host: Host, subject: str = "Hello", **options: Any) -> OutboxMessage:
    message = Message(subject, recipients=["ada@example.org"], body="x")
    return host.smtp_admin.send(message, **options)


def assert_left_at_once(host: Host, *subjects: str) -> None:
    wanted = list(subjects or ["Hello"])
    assert host.stored() == wanted
    assert host.told() == wanted
    assert host.rings == len(wanted)


def assert_waits(host: Host) -> None:
    assert host.stored() == []
    assert host.told() == []
    assert host.rings == 0


@contextmanager
def context(host: Host) -> Iterator[Any]:
    with host.app.app_context():
        yield host.db.session


# ---------------------------------------------------------------- nothing of the caller's waits


def test_without_any_use_of_the_session_it_is_stored_at_once(host: Host) -> None:
    with context(host):
        send(host)
        assert_left_at_once(host)


def test_after_reads_only_it_is_stored_at_once(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="before"))
        session.commit()
        order = session.scalars(sa.select(host.Order)).one()
        send(host)
        assert_left_at_once(host)
        assert order.name == "before"
        session.rollback()
    assert_left_at_once(host)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "  -- what is there?\n/* all of it */ SELECT name FROM \"order\" WHERE name = 'DELETE'",
        "WITH recent AS (SELECT 'UPDATE' AS word) SELECT word FROM recent",
    ],
)
def test_a_read_in_the_words_of_the_host_holds_nothing_back(host: Host, query: str) -> None:
    with context(host) as session:
        if host.db.engine.dialect.name == "mysql":
            query = query.replace('"', "`")
        session.execute(sa.text(query)).all()
        send(host)
        assert_left_at_once(host)


def test_a_union_and_a_common_table_expression_are_reads(host: Host) -> None:
    with context(host) as session:
        some = sa.select(host.Order.name).limit(3)
        session.execute(sa.union(some.subquery().select(), sa.select(sa.literal("a")))).all()
        named = some.cte("named")
        session.execute(sa.select(named.c.name)).all()
        send(host)
        assert_left_at_once(host)


def test_an_object_that_was_touched_but_not_changed_holds_nothing_back(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="same"))
        session.commit()
        order = session.scalars(sa.select(host.Order)).one()
        order.name = "same"
        assert session.dirty
        send(host)
        assert_left_at_once(host)


def test_after_a_commit_the_next_send_is_stored_at_once(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        session.commit()
        send(host)
        assert_left_at_once(host)


def test_after_a_rollback_the_next_send_is_stored_at_once(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        session.flush()
        session.rollback()
        send(host)
        assert_left_at_once(host)


def test_after_a_failed_flush_a_send_is_stored_at_once(host: Host) -> None:
    """The session holds nothing any more: this is how an error report gets away."""
    with context(host) as session:
        session.add(host.Order(name="twice"))
        session.commit()
        session.add(host.Order(name="twice"))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        send(host)
        assert_left_at_once(host)
        session.rollback()
    assert_left_at_once(host)


def test_after_a_failed_commit_nothing_of_its_messages_is_left(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="twice"))
        session.commit()
        session.add(host.Order(name="twice"))
        send(host)
        with pytest.raises(sa.exc.IntegrityError):
            session.commit()
        session.rollback()
    assert_waits(host)


# ---------------------------------------------------------------- the caller has writes


def add_pending(host: Host, session: Any) -> None:
    session.add(host.Order(name="new"))


def flush(host: Host, session: Any) -> None:
    session.add(host.Order(name="new"))
    session.flush()


def core_insert(host: Host, session: Any) -> None:
    session.execute(sa.insert(host.Order).values(name="new"))


def text_insert(host: Host, session: Any) -> None:
    table = host.Order.__table__.fullname
    quoted = host.db.engine.dialect.identifier_preparer.quote(table)
    session.execute(sa.text(f"/* ours */ INSERT INTO {quoted} (name) VALUES ('new')"))


def connection_insert(host: Host, session: Any) -> None:
    session.connection().execute(sa.insert(host.Order).values(name="new"))


WAYS = pytest.mark.parametrize(
    "write", [add_pending, flush, core_insert, text_insert, connection_insert]
)
Write = Callable[[Host, Any], None]


@WAYS
def test_it_commits_with_the_writes_of_the_caller(host: Host, write: Write) -> None:
    with context(host) as session:
        write(host, session)
        send(host)
        assert_waits(host)
        session.commit()
        assert_left_at_once(host)
    assert host.orders() == ["new"]


@WAYS
def test_it_rolls_back_with_the_writes_of_the_caller(host: Host, write: Write) -> None:
    with context(host) as session:
        write(host, session)
        send(host)
        session.rollback()
        assert_waits(host)
    assert host.orders() == []


@WAYS
def test_it_is_gone_when_the_caller_never_commits(host: Host, write: Write) -> None:
    with context(host) as session:
        write(host, session)
        send(host)
    assert_waits(host)
    assert host.orders() == []


def test_it_commits_with_a_change_of_an_object_and_with_a_deletion(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        session.commit()
        order = session.scalars(sa.select(host.Order)).one()
        order.name = "b"
        send(host, "changed")
        assert_waits(host)
        session.commit()
        session.delete(order)
        send(host, "deleted")
        assert host.stored() == ["changed"]
        session.commit()
    assert_left_at_once(host, "changed", "deleted")


def test_an_update_and_a_delete_in_sql_count_as_writes(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        session.commit()
        session.execute(sa.update(host.Order).values(name="b"))
        send(host, "updated")
        session.rollback()
        session.execute(sa.delete(host.Order))
        send(host, "deleted")
        session.rollback()
    assert_waits(host)


def test_two_sends_in_one_transaction_share_its_fate(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        send(host, "one")
        send(host, "two")
        assert_waits(host)
        session.commit()
    assert_left_at_once(host, "one", "two")


def test_a_message_alone_is_no_reason_to_hold_the_next_one_back(host: Host) -> None:
    with context(host):
        send(host, "one")
        send(host, "two")
        assert_left_at_once(host, "one", "two")


def test_closing_the_session_drops_it(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        session.flush()
        send(host)
        session.close()
        assert_waits(host)
        send(host, "next")
    assert_left_at_once(host, "next")


def test_what_was_committed_before_an_exception_stays(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        send(host, "kept")
        session.commit()
        session.add(host.Order(name="b"))
        send(host, "lost")
        session.rollback()
    assert_left_at_once(host, "kept")


def test_a_context_manager_commits_and_rolls_back(host: Host) -> None:
    with context(host) as session:
        with session.begin():
            session.add(host.Order(name="a"))
            send(host, "kept")
        with suppress(KeyError), session.begin():
            session.add(host.Order(name="b"))
            send(host, "lost")
            raise KeyError
    assert_left_at_once(host, "kept")
    assert host.orders() == ["a"]


def test_a_message_that_is_refused_leaves_the_caller_s_transaction_alone(host: Host) -> None:
    with context(host) as session:
        session.add(host.Order(name="a"))
        session.flush()
        with pytest.raises(MessageError):
            send(host, "bad\x00subject")
        with pytest.raises(LookupError):
            send(host, connection="nobody")
        session.commit()
    assert host.orders() == ["a"]
    assert_waits(host)


def test_autoflush_off_changes_nothing(database_url: str, tmp_path: Path) -> None:
    host = Host(tmp_path / "instance", database_url, session_options={"autoflush": False})
    try:
        with context(host) as session:
            session.add(host.Order(name="a"))
            send(host)
            session.rollback()
            assert_waits(host)
            session.add(host.Order(name="a"))
            send(host)
            session.commit()
        assert_left_at_once(host)
    finally:
        host.close()


# ---------------------------------------------------------------- savepoints


def begun(host: Host, session: Any) -> None:
    """Begin the transaction with a write.

    On SQLite the driver takes a savepoint that comes first for no transaction at all.
    """
    session.add(host.Order(name="begun"))
    session.flush()


def test_a_send_in_a_released_savepoint_waits_for_the_commit(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        with session.begin_nested():
            send(host)
        assert_waits(host)
        session.commit()
    assert_left_at_once(host)


def test_a_send_in_a_savepoint_that_is_rolled_back_never_existed(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        with suppress(KeyError), session.begin_nested():
            session.add(host.Order(name="inside"))
            send(host, "inside")
            raise KeyError
        send(host, "after")
        session.commit()
    assert_left_at_once(host, "after")
    assert host.orders() == ["begun"]


def test_a_send_in_a_released_savepoint_goes_with_the_outer_rollback(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        with session.begin_nested():
            session.add(host.Order(name="inside"))
            send(host)
        session.rollback()
    assert_waits(host)


def test_savepoints_within_savepoints(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        send(host, "outside")
        with session.begin_nested():
            send(host, "first")
            with suppress(KeyError), session.begin_nested():
                send(host, "second")
                raise KeyError
            with session.begin_nested():
                send(host, "third")
        assert_waits(host)
        session.commit()
    assert_left_at_once(host, "outside", "first", "third")


def test_an_outer_savepoint_takes_the_inner_one_with_it(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        with suppress(KeyError), session.begin_nested():
            with session.begin_nested():
                send(host, "inner")
            raise KeyError
        session.commit()
    assert_waits(host)
    assert host.orders() == ["begun"]


def test_writes_that_were_rolled_back_to_a_savepoint_hold_nothing_back(host: Host) -> None:
    with context(host) as session:
        session.execute(sa.select(host.Order)).all()
        with suppress(KeyError), session.begin_nested():
            session.add(host.Order(name="inside"))
            session.flush()
            raise KeyError
        send(host)
        assert_left_at_once(host)


def test_writes_of_a_released_savepoint_hold_a_later_send_back(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        session.commit()
        session.execute(sa.select(host.Order)).all()
        with session.begin_nested():
            session.execute(sa.insert(host.Order).values(name="inside"))
        send(host)
        assert host.told() == []
        session.commit()
    assert_left_at_once(host)


def test_savepoints_by_hand(host: Host) -> None:
    with context(host) as session:
        begun(host, session)
        savepoint = session.begin_nested()
        send(host, "one")
        savepoint.rollback()
        savepoint = session.begin_nested()
        send(host, "two")
        savepoint.commit()
        session.commit()
    assert_left_at_once(host, "two")


# ---------------------------------------------------------------- where it is called from


def test_a_receiver_of_the_signal_may_use_the_session(host: Host) -> None:
    """The fact is told after the transaction has ended, so that a new one can begin."""

    def note(app: Flask, event: signals.Event) -> None:
        host.db.session.add(host.Order(name=f"told {event.subject}"))
        host.db.session.commit()

    with signals.message_queued.connected_to(note, sender=host.app), context(host) as session:
        session.add(host.Order(name="a"))
        send(host)
        session.commit()
        send(host, "again")
    assert sorted(host.orders()) == ["a", "told Hello", "told again"]


def test_a_request_sends_and_its_end_rolls_back(host: Host) -> None:
    @host.app.post("/buy/<outcome>")
    def buy(outcome: str) -> str:
        host.db.session.add(host.Order(name=outcome))
        send(host, outcome)
        if outcome == "paid":
            host.db.session.commit()
        return outcome

    client = host.app.test_client()
    assert client.post("/buy/forgotten").status_code == 200
    assert client.post("/buy/paid").status_code == 200
    assert_left_at_once(host, "paid")


def test_a_cli_command_sends(host: Host) -> None:
    @host.app.cli.command("report")
    def report() -> None:
        host.db.session.add(host.Order(name="reported"))
        send(host, "report")
        host.db.session.commit()
        send(host, "done")

    result = host.app.test_cli_runner().invoke(args=["report"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert_left_at_once(host, "report", "done")


def test_a_thread_has_a_transaction_of_its_own(host: Host) -> None:
    """The main thread's writes do not hold the thread's message back, and it needs a context."""

    def work() -> None:
        with host.app.app_context():
            send(host, "from a thread")

    with context(host) as session, ThreadPoolExecutor(1) as threads:
        if session.get_bind().dialect.name != "sqlite":
            # On SQLite there is one writer at a time, so the thread would wait for this one.
            session.add(host.Order(name="pending"))
            session.flush()
        threads.submit(work).result()
        assert_left_at_once(host, "from a thread")


def test_two_contexts_have_two_transactions(host: Host) -> None:
    with context(host) as outer:
        outer.add(host.Order(name="outer"))
        with context(host):
            send(host)
            assert_left_at_once(host)
        outer.rollback()
    assert_left_at_once(host)


# ---------------------------------------------------------------- binds, other engines, tests of hosts


def test_a_session_that_belongs_to_the_thread_outlives_a_send(
    database_url: str, tmp_path: Path
) -> None:
    scope = {"scopefunc": threading.get_ident}
    host = Host(tmp_path / "instance", database_url, session_options=scope)
    try:
        with context(host) as session:
            session.add(host.Order(name="a"))
            session.commit()
            order = session.scalars(sa.select(host.Order)).one()
            send(host)
            assert order in session
            session.add(host.Order(name="b"))
            send(host, "kept")
            session.commit()
        assert_left_at_once(host, "Hello", "kept")
    finally:
        host.close()


def test_a_bind_holds_the_outbox_and_the_default_one_the_host_s_rows(
    database_url: str, tmp_path: Path
) -> None:
    """Both commit with the session; two databases are not one transaction, but one commit call."""
    host = Host(
        tmp_path / "instance",
        database_url,
        SQLALCHEMY_BINDS={"mail": f"sqlite:///{tmp_path / 'mail.sqlite'}"},
        SMTP_ADMIN_BIND_KEY="mail",
    )
    try:
        with context(host) as session:
            engines = host.db.engines
            assert "smtp_admin_message" in sa.inspect(engines["mail"]).get_table_names()
            assert "smtp_admin_message" not in sa.inspect(engines[None]).get_table_names()
            send(host, "alone")
            session.add(host.Order(name="a"))
            send(host, "lost")
            session.rollback()
            session.add(host.Order(name="b"))
            session.flush()
            send(host, "kept")
            assert host.stored() == ["alone"]
            session.commit()
        assert_left_at_once(host, "alone", "kept")
    finally:
        host.close()


def test_writes_to_a_bind_of_the_host_hold_a_message_in_the_default_one_back(
    database_url: str, tmp_path: Path
) -> None:
    host = Host(
        tmp_path / "instance",
        database_url,
        SQLALCHEMY_BINDS={"audit": f"sqlite:///{tmp_path / 'audit.sqlite'}"},
    )
    try:
        audited = order_model_in(host.db, "audit")
        with context(host) as session:
            host.db.create_all()
            session.execute(sa.insert(audited).values(name="a"))
            send(host, "lost")
            session.rollback()
            session.execute(sa.insert(audited).values(name="a"))
            send(host, "kept")
            assert_waits(host)
            session.commit()
        assert_left_at_once(host, "kept")
    finally:
        host.close()


def order_model_in(db: SQLAlchemy, bind_key: str) -> Any:
    class Audited(db.Model):  # type: ignore[name-defined,misc]
        __bind_key__ = bind_key
        id = sa.orm.mapped_column(sa.Integer, primary_key=True)
        name = sa.orm.mapped_column(sa.String(50))

    return Audited


def test_engines_and_sessions_that_are_not_flask_sqlalchemy_s_are_left_alone(
    host: Host, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'other.sqlite'}")
    with sa.orm.Session(engine) as session, context(host):
        session.execute(sa.text("CREATE TABLE t (x INTEGER)"))
        session.execute(sa.text("INSERT INTO t VALUES (1)"))
        send(host)
        assert_left_at_once(host)
        assert not session.info
        assert not session.connection().info
        session.commit()
    engine.dispose()


def test_a_second_database_object_at_the_place_of_a_dead_one_is_followed() -> None:
    """Test suites make them by the hundred, and memory is used again."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (x INTEGER)"))

    def follows() -> bool:
        db = SQLAlchemy()
        watch(db)
        with db.session.session_factory() as session:
            link = session.connection(bind_arguments={"bind": engine})
            link.execute(sa.text("DELETE FROM t"))
            return holds_writes(session)

    gc.freeze()  # so that collecting does not go through all that the tests before it left
    try:
        for _ in range(30):
            assert follows()
            gc.collect()
    finally:
        gc.unfreeze()
    engine.dispose()


@contextmanager
def one_transaction(host: Host, key: str | None = None) -> Iterator[sa.Connection]:
    """Run everything of the host in a transaction that is rolled back, as its tests may do."""
    with host.app.app_context():
        engines: Any = host.db.engines
    engine = engines[key]
    with engine.connect() as connection:
        transaction = connection.begin()
        engines[key] = connection
        try:
            yield connection
        finally:
            engines[key] = engine
            transaction.rollback()


@pytest.fixture
def isolated(database_url: str, tmp_path: Path) -> Iterator[Host]:
    host = Host(
        tmp_path / "instance",
        database_url,
        session_options={"join_transaction_mode": "create_savepoint"},
    )
    yield host
    host.close()


def test_a_host_s_tests_may_run_in_one_transaction_that_is_rolled_back(isolated: Host) -> None:
    host = isolated
    count = sa.text("SELECT count(*) FROM smtp_admin_message")
    with one_transaction(host) as connection:
        connection.execute(sa.insert(host.Order).values(name="of the test"))
        with context(host) as session:
            send(host, "at once")
            assert host.told() == ["at once"]
            session.add(host.Order(name="a"))
            send(host, "lost")
            session.rollback()
            session.add(host.Order(name="b"))
            send(host, "kept")
            assert host.told() == ["at once"]
            session.commit()
            assert host.told() == ["at once", "kept"]
            send(host, "after")
        assert host.told() == ["at once", "kept", "after"]
        assert connection.scalar(count) == 3
    assert host.stored() == []
    assert host.orders() == []


def test_a_host_s_tests_may_put_a_session_of_their_own_into_place(isolated: Host) -> None:
    host = isolated
    with host.app.app_context():
        engine = host.db.engine
    with engine.connect() as connection:
        transaction = connection.begin()
        factory = sa.orm.sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
        before, host.db.session = host.db.session, sa.orm.scoped_session(factory)  # type: ignore[arg-type]
        try:
            with context(host) as session:
                session.execute(sa.insert(host.Order).values(name="a"))
                send(host, "lost")
                session.rollback()
                session.execute(sa.insert(host.Order).values(name="a"))
                send(host, "kept")
                assert host.told() == []
                session.commit()
                assert host.told() == ["kept"]
                send(host, "at once")
                assert host.told() == ["kept", "at once"]
        finally:
            host.db.session = before
            transaction.rollback()
    assert host.stored() == []


def test_in_memory_a_send_in_an_inner_context_keeps_what_the_outer_one_wrote(
    tmp_path: Path,
) -> None:
    """All contexts share the one connection there is: what one commits is committed for all."""
    host = Host(tmp_path / "instance", "sqlite://")
    with context(host) as session:
        session.add(host.Order(name="of a fixture"))
        session.flush()
        with context(host):
            send(host)
        session.commit()
        assert host.orders() == ["of a fixture"]
    assert_left_at_once(host)
    host.close()


# ---------------------------------------------------------------- the first use


@contextmanager
def fresh(url: str, folder: Path, **config: Any) -> Iterator[Host]:
    """A host whose database holds no connection yet, and whose messages name no sender."""
    settings = {
        "MAIL_SERVER": "mail.example.org",
        "MAIL_USERNAME": "shop@example.org",
        "MAIL_DEFAULT_SENDER": None,
    }
    host = Host(folder / "instance", url, **{**settings, **config})
    try:
        yield host
    finally:
        host.close()


def captions(host: Host) -> list[str]:
    with host.app.app_context(), host.db.engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT caption FROM smtp_admin_connection")))


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("options", [{}, {"connection": "Default"}], ids=["any", "named"])
def test_the_first_send_in_a_transaction_finds_the_first_connection(
    database_url: str, tmp_path: Path, options: dict[str, Any], flushed: bool
) -> None:
    with fresh(database_url, tmp_path) as host, context(host) as session:
        session.execute(sa.select(host.Order)).all()  # from here on MariaDB sees no other's commits
        session.add(host.Order(name="a"))
        if flushed:
            session.flush()
        send(host, "one", **options)
        send(host, "two", **options)
        assert host.stored() == []
        session.commit()
        assert (host.stored(), host.told()) == (["one", "two"], ["one", "two"])
        assert (captions(host), host.orders()) == (["Default"], ["a"])


def test_the_first_connection_comes_again_when_the_first_transaction_rolls_back(
    database_url: str, tmp_path: Path
) -> None:
    with fresh(database_url, tmp_path) as host, context(host) as session:
        session.execute(sa.insert(host.Order).values(name="a"))
        send(host, "lost")
        session.rollback()
        session.execute(sa.insert(host.Order).values(name="b"))
        send(host, "kept")
        session.commit()
        send(host, "after")
        assert (host.stored(), host.orders()) == (["kept", "after"], ["b"])
        assert captions(host) == ["Default"]


def test_the_first_connection_needs_no_second_one_to_the_database(
    postgres_url: str, tmp_path: Path
) -> None:
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    config = {"SQLALCHEMY_ENGINE_OPTIONS": options}
    with fresh(postgres_url, tmp_path, **config) as host, context(host) as session:
        session.execute(sa.insert(host.Order).values(name="a"))
        send(host)
        session.commit()
        assert (host.stored(), captions(host)) == (["Hello"], ["Default"])


def test_in_the_one_transaction_of_a_host_s_test_each_test_gets_the_first_connection(
    database_url: str, tmp_path: Path
) -> None:
    joined = {"join_transaction_mode": "create_savepoint"}
    with fresh(database_url, tmp_path, session_options=joined) as host:
        for _ in range(2):
            with one_transaction(host) as connection, context(host) as session:
                connection.execute(sa.insert(host.Order).values(name="of the test"))
                send(host, "at once", connection="Default")
                session.add(host.Order(name="a"))
                send(host, "with the order", connection="Default")
                session.commit()
        assert host.told() == ["at once", "with the order"] * 2
        assert captions(host) == []


# ---------------------------------------------------------------- when the database does not answer


def test_with_every_connection_in_use_it_says_so(postgres_url: str, tmp_path: Path) -> None:
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    host = Host(tmp_path / "instance", postgres_url, SQLALCHEMY_ENGINE_OPTIONS=options)
    try:
        with context(host) as session:
            send(host, "first")
            session.execute(sa.select(host.Order)).all()
            with pytest.raises(OutboxUnavailable, match="pool_size"):
                send(host, "second")
            session.rollback()
            send(host, "third")
        assert_left_at_once(host, "first", "third")
    finally:
        host.close()


def test_in_a_transaction_that_the_database_has_given_up_it_says_so(
    postgres_url: str, tmp_path: Path
) -> None:
    """PostgreSQL refuses every statement after one that failed, until the rollback."""
    host = Host(tmp_path / "instance", postgres_url)
    try:
        with context(host) as session:
            session.execute(sa.insert(host.Order).values(name="a"))
            with pytest.raises(sa.exc.ProgrammingError):
                session.execute(sa.text("SELECT nothing FROM nowhere"))
            with pytest.raises(OutboxUnavailable):
                send(host)
            session.rollback()
        assert_waits(host)
    finally:
        host.close()


@pytest.mark.parametrize("level", ["SERIALIZABLE", "REPEATABLE READ"])
@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_our_own_transactions_see_what_others_commit(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, level: str
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    config = {"SQLALCHEMY_ENGINE_OPTIONS": {"isolation_level": level}}
    host = Host(tmp_path / "instance", url, **config)
    count = sa.text("SELECT count(*) FROM smtp_admin_message")
    try:
        with context(host), core_of(host.app).database.write() as connection:
            before = connection.scalar(count)
            with ThreadPoolExecutor(1) as other:
                other.submit(_send_in_context, host).result()
            assert connection.scalar(count) == before + 1
    finally:
        host.close()


def _send_in_context(host: Host) -> None:
    with context(host):
        send(host)


def test_transactions_that_collide_are_told_to_try_again(postgres_url: str, tmp_path: Path) -> None:
    config = {"SQLALCHEMY_ENGINE_OPTIONS": {"isolation_level": "REPEATABLE READ"}}
    host = Host(tmp_path / "instance", postgres_url, **config)
    update = sa.text("UPDATE smtp_admin_message SET subject = subject || '!'")
    try:
        with context(host) as session:
            send(host)
            session.execute(sa.select(host.Order)).all()  # from here on it sees no other's commits
            with host.db.engine.begin() as other:
                other.execute(update)
            refused = pytest.raises(OutboxUnavailable, match="roll back and try again")
            with refused as caught, explained():
                session.execute(update)
            assert "room on its disk" not in str(caught.value)
            session.rollback()
    finally:
        host.close()


def test_a_request_need_not_know_of_a_deadlock(postgres_url: str, tmp_path: Path) -> None:
    """The request waits for our lock on the connection, and we for its key: PostgreSQL ends one."""
    host = Host(tmp_path / "instance", postgres_url)
    lock = sa.text("SELECT id FROM smtp_admin_connection FOR UPDATE")
    insert = sa.text(
        "INSERT INTO smtp_admin_message SELECT (jsonb_populate_record(one, jsonb_build_object("
        "'id', 0, 'idempotency_key', 'wanted'))).* FROM smtp_admin_message AS one"
    )
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def count(engine: sa.Engine, query: sa.TextClause) -> int:
        with engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def send_ours() -> OutboxMessage:
        with context(host):
            return send(host, connection="Main", idempotency_key="wanted")

    try:
        with context(host):
            engine = host.db.engine
            add(engine, a_connection("Main"))
            send(host)
        with ThreadPoolExecutor(1) as threads:
            with engine.connect() as ours:
                ours.execute(lock)
                sent = threads.submit(send_ours)
                wait_until(lambda: count(engine, waiting), what="the request to wait for the lock")
                ours.execute(insert)  # goes on once the request's transaction was ended
                assert not sent.done()
                ours.rollback()
            assert not sent.result().duplicate
        assert len(host.stored()) == 2
    finally:
        host.close()


# ---------------------------------------------------------------- the words of SQL


@pytest.mark.parametrize(
    ("statement", "writes"),
    [
        ("SELECT 1", False),
        ("select 1 for update", False),
        ("(SELECT 1) UNION (SELECT 2)", False),
        ("((SELECT 1))", False),
        ("\n\t-- INSERT\n SELECT 1", False),
        ("/* INSERT */SELECT 1", False),
        ("VALUES (1)", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE", False),
        ("WITH a AS (SELECT 'it''s an INSERT') SELECT \"DELETE\" FROM a", False),
        ("WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a", True),
        ("with a as (select 1) insert into t select * from a", True),
        ("PRAGMA user_version", False),
        ("SET search_path TO x", False),
        ("SAVEPOINT a", False),
        ("INSERT INTO t VALUES (1)", True),
        ("update t set x = 1", True),
        ("DELETE FROM t", True),
        ("MERGE INTO t USING s ON 1 = 1", True),
        ("REPLACE INTO t VALUES (1)", True),
        ("CREATE TABLE t (x INTEGER)", True),
        ("TRUNCATE t", True),
        ("CALL pay(1)", True),
        ("COPY t FROM STDIN", True),
        ("", True),
    ],
)
def test_what_counts_as_a_write(statement: str, writes: bool) -> None:
    assert changes_data(statement) is writes


def test_the_core_of_an_application_is_reachable_for_these_tests(host: Host) -> None:
    assert core_of(host.app).database.is_hosts
