"""Where the outbox is kept: engine, transactions, and the caller's transaction where there is one.

Owns how a transaction begins on each database, and the column types that behave alike on all of
them. Must not know Flask, nor any table.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from copy import copy
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Connection, DateTime, Dialect, Engine, Integer, LargeBinary
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.types import TypeDecorator

from . import direct
from .direct import Direct, shares_one_connection
from .errors import OutboxUnavailable

T = TypeVar("T")

IDLE_TRANSACTION_SECONDS = 15
"""So long a transaction of ours may rest between two statements; none does, unless its process was
stopped."""

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit key; SQLite counts up only columns of its own ``INTEGER``, which is as wide."""

Blob = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class UTCDateTime(TypeDecorator[datetime]):
    """An aware time in UTC, with microseconds on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(  # noqa: D102
        self, dialect: Dialect
    ) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def bind_processor(  # noqa: D102
        self, dialect: Dialect
    ) -> Callable[[datetime | None], Any] | None:
        if dialect.name != "sqlite":
            return super().bind_processor(dialect)

        # What is written together has the same few times in it.
        last: tuple[datetime | None, str | None] = (None, None)

        def process(value: datetime | None) -> str | None:
            nonlocal last
            known, text = last
            if value is known:
                return text
            naive = self.process_bind_param(value, dialect)
            # As SQLAlchemy writes it, in a fifth of the time.
            text = None if naive is None else naive.isoformat(" ", "microseconds")
            last = (value, text)
            return text

        return process

    def process_bind_param(  # noqa: D102
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; pass an aware datetime.")
        value = value.astimezone(timezone.utc)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(  # noqa: D102
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)


class Collision(OutboxUnavailable):
    """The database ended the transaction to let another one through; it may be tried again."""


COLLISIONS = 5
"""How often a transaction is tried while others are in its way."""


def in_the_end(act: Callable[[], T]) -> T:
    """Run a whole transaction, again when the database ended it to let another one through.

    :raises Collision: each time.
    """
    for _ in range(COLLISIONS - 1):
        with suppress(Collision):
            return act()
    return act()


class Database:
    """The database of one application's outbox.

    :param engine: returns the engine; asked at every use, since a host may make it late. Where a
        test of the host runs everything in one transaction that it rolls back at the end, it is
        the connection of that transaction.
    :param joined: returns the connection of the caller's transaction when that holds uncommitted
        writes, otherwise ``None``. See "When a send counts" in the documentation.
    :param is_hosts: tells whether the database belongs to the host, who makes its tables.
    :param prepare: called before the first use, to create or upgrade the tables of a database
        that the outbox owns.
    """

    def __init__(
        self,
        engine: Callable[[], Engine | Connection],
        *,
        joined: Callable[[], Connection | None] = lambda: None,
        prepare: Callable[[Engine | Connection], None] | None = None,
        is_hosts: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_hosts = is_hosts
        self._engine = engine
        self._joined = joined
        self._prepare = prepare
        self._in_use: Callable[[], AbstractContextManager[object]] = nullcontext

    def watched(self, in_use: Callable[[], AbstractContextManager[object]]) -> Database:
        """Return the same database, each of whose uses happens inside ``in_use()``."""
        twin = copy(self)
        twin._in_use = in_use  # noqa: SLF001  (its own kind)
        return twin

    @property
    def is_hosts(self) -> bool:
        """Whether the database belongs to the host application."""
        return self._is_hosts()

    @property
    def bare_engine(self) -> Engine:
        """The engine, nothing being prepared."""
        return self._engine().engine

    @property
    def engine(self) -> Engine:
        """The engine, its tables being there when the outbox owns them."""
        return self._prepared().engine

    def _prepared(self) -> Engine | Connection:
        found = self._engine()
        if self._prepare is not None:
            self._prepare(found)
        return found

    def joined(self) -> Connection | None:
        """Return the caller's connection when the message has to share its transaction.

        :raises OutboxUnavailable: it is the first use, and the database cannot be used.
        """
        return self._joined()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading.

        :raises OutboxUnavailable: the database cannot be reached, or has no tables.
        """
        with self._in_use(), explained(), _connected(self._prepared()) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction that commits at the end and rolls back on an error.

        :raises OutboxUnavailable: as for :meth:`read`.
        """
        with self._in_use(), explained(), _connected(self._prepared()) as connection:
            if connection.in_transaction():
                with connection.begin_nested():
                    yield connection
            else:
                with connection.begin():
                    _see_commits(connection)
                    if self.is_hosts:
                        _bound(connection)
                    take_write_lock(connection)
                    yield connection

    @contextmanager
    def write_rows(self, *, single: bool = False) -> Iterator[Connection | Direct]:
        """Give a connection as :meth:`write` does, for statements of :class:`~.bulk.Bulk` alone.

        Where the database is the outbox's own it is the driver's, which saves most of the time.
        The host's is used through SQLAlchemy, so that what the host hooks into its engine sees
        every statement.

        :param single: it is one statement. On PostgreSQL that commits by itself: a BEGIN and a
            COMMIT around it are questions, too, each of which has to be answered.
        :raises OutboxUnavailable: as for :meth:`read`.
        """
        with self._in_use(), explained(), self._for_rows(self._prepared(), single) as connection:
            yield connection

    def _for_rows(
        self, found: Engine | Connection, single: bool
    ) -> AbstractContextManager[Connection | Direct]:
        if isinstance(found, Connection) or not _sees_commits(found):
            return self.write()
        if not self.is_hosts and direct.is_possible(found):
            return direct.transaction(found, single=single)
        return _alone(found) if single and found.dialect.name == "postgresql" else self.write()

    def has_room(self) -> bool:
        """Tell whether another connection can be had at once, as far as its pool tells."""
        found = self._engine()
        if isinstance(found, Connection):
            return False  # all share it
        pool = found.pool
        if isinstance(pool, QueuePool):
            most = pool._max_overflow  # noqa: SLF001
            return most < 0 or pool.overflow() < most or pool.checkedin() > 0
        return isinstance(pool, NullPool)

    def skew(self, connection: Connection | Direct) -> timedelta:
        """Return how far the clock of the database is ahead of this machine's."""
        return _skew(connection)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give an ORM session for a page: reading, and small writes that it commits itself.

        :raises OutboxUnavailable: as for :meth:`read`.
        """
        with (
            self._in_use(),
            explained(),
            Session(
                self._prepared(), expire_on_commit=False, join_transaction_mode="create_savepoint"
            ) as session,
        ):
            yield session


def _skew(connection: Connection | Direct) -> timedelta:
    if connection.dialect.name == "postgresql":
        theirs = connection.exec_driver_sql("SELECT clock_timestamp()", ()).scalar_one()
    elif connection.dialect.name in ("mysql", "mariadb"):
        naive: datetime = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)", ()).scalar_one()
        theirs = naive.replace(tzinfo=timezone.utc)
    else:
        return timedelta()  # a file has the clock of its machine
    difference: timedelta = theirs - datetime.now(timezone.utc)
    return difference


def _connected(found: Engine | Connection) -> AbstractContextManager[Connection]:
    return nullcontext(found) if isinstance(found, Connection) else found.connect()


def _see_commits(connection: Connection) -> None:
    """Have each statement see what others have committed, whatever the host chose for its own.

    On MariaDB and MySQL statements then lock the rows that they find, and no gaps. With the gaps,
    which is the default, workers that claim and requests that enqueue end each other's
    transactions as deadlocks. On PostgreSQL two writers of one row would end in an error where the
    second one only has to look again.
    """
    if connection.dialect.name in ("mysql", "mariadb", "postgresql"):
        engine = connection.engine
        if engine not in _levels:
            _levels[engine] = connection.get_isolation_level()
        if _levels[engine] != "READ COMMITTED":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _bound(connection: Connection) -> None:
    """Have PostgreSQL end the transaction when our process says nothing any more.

    One that was stopped would lock out everybody else. Sessions of the host's are not ours to change;
    those of a database of our own have it from their beginning.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'"
        )


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def _sees_commits(engine: Engine) -> bool:
    """Tell whether a statement sees what others have committed, although nobody asked for that."""
    if engine.dialect.name == "sqlite":
        return True  # who has the write lock has waited for everybody else
    if engine not in _levels:
        with engine.connect() as connection:
            _levels[engine] = connection.get_isolation_level()
    return _levels[engine] == "READ COMMITTED"


_levels: weakref.WeakKeyDictionary[Engine, str] = weakref.WeakKeyDictionary()
"""The isolation level of each engine's connections, which would cost a question each time."""


def take_write_lock(connection: Connection) -> None:
    """On SQLite, begin with the write lock instead of asking for it half-way.

    A deferred transaction that read first and writes later fails at once with "database is locked"
    when another one wrote in between; no time-out helps (https://www.sqlite.org/lang_transaction.html).
    """
    if connection.dialect.name != "sqlite":
        return
    driver = connection.connection.dbapi_connection
    if getattr(driver, "in_transaction", False):
        if shares_one_connection(connection.engine):
            return
        # The application made SQLAlchemy emit BEGIN itself; nothing has been read in it yet.
        connection.exec_driver_sql("ROLLBACK")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def explained() -> Iterator[None]:
    """Turn a database that is away, or has no tables, into an error that says what to do."""
    try:
        yield
    except (OperationalError, ProgrammingError, InterfaceError, InternalError) as error:
        kind = Collision if _was_rolled_back(error) else OutboxUnavailable
        raise kind(explain(error)) from error
    except PoolTimeout as error:
        raise OutboxUnavailable(
            "Every database connection of this process is in use, so none was left for the outbox. "
            "Raise pool_size in SQLALCHEMY_ENGINE_OPTIONS: a request that has read something and "
            "then sends a message needs two at the same time."
        ) from error


def explain(error: DBAPIError) -> str:
    """Say in a sentence what a database error means for the outbox and what to do."""
    words = _words_of(error)
    if _says(error, _NO_TABLE):
        return (
            "The outbox has no tables in this database yet. Run 'flask db migrate' and "
            "'flask db upgrade', or db.create_all(), or 'flask smtp-admin db upgrade' for a "
            f"database of its own. The database said: {words}"
        )
    if _was_rolled_back(error) or _says(error, _WAITED_IN_VAIN):
        return (
            "Another transaction was in the way, and the database ended this one. Nothing was "
            f"stored: roll back and try again. The database said: {words}"
        )
    if _says(error, ("locked", "busy")):
        return (
            "The database is locked by another writer. Try again; if it stays so, look for a "
            f"transaction that is never committed. The database said: {words}"
        )
    return (
        "The outbox database cannot be used. Check that it runs, that its address is right and "
        f"that there is room on its disk. The database said: {words}"
    )


def _was_rolled_back(error: DBAPIError) -> bool:
    """Tell whether it was ended at once to let another one through: the next try may succeed."""
    orig = error.orig
    number = orig.args[0] if orig is not None and orig.args else None
    return getattr(orig, "sqlstate", None) in _ROLLED_BACK or number in _ROLLED_BACK


_ROLLED_BACK = ("40001", "40P01", 1213, 1020)
"""PostgreSQL's SQLSTATE for a transaction that could not be serialized, and for a deadlock
(https://www.postgresql.org/docs/current/errcodes-appendix.html); MariaDB's numbers for a deadlock, and
for a row that has changed since it was read (https://mariadb.com/kb/en/mariadb-error-codes/)."""


def _says(error: DBAPIError, parts: Iterable[str]) -> bool:
    words = _words_of(error).lower()
    return any(re.search(part, words) for part in parts)


def _words_of(error: DBAPIError) -> str:
    return str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__


_NO_TABLE = (
    r"no such (table|column)",
    r"table .* doesn't exist",
    r"unknown column",
    r"(relation|column) .* does not exist",
)
_WAITED_IN_VAIN = ("lock wait timeout", "lock timeout")
