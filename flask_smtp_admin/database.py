"""Where the outbox is kept: engine, transactions, and the caller's transaction where there is one.

Owns how a transaction begins on each database, and the column types that behave alike on all of
them. Must not know Flask, nor any table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import BigInteger, Connection, DateTime, Dialect, Engine, Integer, LargeBinary
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator

from .errors import OutboxUnavailable

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


class Database:
    """The database of one application's outbox.

    :param engine: returns the engine; asked at every use, since a host may make it late.
    :param joined: returns the connection of the caller's transaction when that holds uncommitted
        writes, otherwise ``None``. See "When a send counts" in the documentation.
    :param is_hosts: tells whether the database belongs to the host, who makes its tables.
    :param prepare: called before the first use, to create or upgrade the tables of a database
        that the outbox owns.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        joined: Callable[[], Connection | None] = lambda: None,
        prepare: Callable[[Engine], None] | None = None,
        is_hosts: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_hosts = is_hosts
        self._engine = engine
        self._joined = joined
        self._prepare = prepare

    @property
    def is_hosts(self) -> bool:
        """Whether the database belongs to the host application."""
        return self._is_hosts()

    @property
    def bare_engine(self) -> Engine:
        """The engine, nothing being prepared."""
        return self._engine()

    @property
    def engine(self) -> Engine:
        """The engine, its tables being there when the outbox owns them."""
        engine = self._engine()
        if self._prepare is not None:
            self._prepare(engine)
        return engine

    def joined(self) -> Connection | None:
        """Return the caller's connection when the message has to share its transaction."""
        return self._joined()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading.

        :raises OutboxUnavailable: the database cannot be reached, or has no tables.
        """
        with explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction that commits at the end and rolls back on an error.

        :raises OutboxUnavailable: as for :meth:`read`.
        """
        with explained(), self.engine.connect() as connection, connection.begin():
            take_write_lock(connection)
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give an ORM session for a page: reading, and small writes that it commits itself.

        :raises OutboxUnavailable: as for :meth:`read`.
        """
        with explained(), Session(self.engine, expire_on_commit=False) as session:
            yield session


def take_write_lock(connection: Connection) -> None:
    """On SQLite, begin with the write lock instead of asking for it half-way.

    A deferred transaction that read first and writes later fails at once with "database is locked"
    when another one wrote in between; no time-out helps (https://www.sqlite.org/lang_transaction.html).
    """
    if connection.dialect.name != "sqlite":
        return
    driver = connection.connection.dbapi_connection
    if getattr(driver, "in_transaction", False):
        # The application made SQLAlchemy emit BEGIN itself; nothing has been read in it yet.
        connection.exec_driver_sql("ROLLBACK")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def explained() -> Iterator[None]:
    """Turn a database that is away, or has no tables, into an error that says what to do."""
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        raise OutboxUnavailable(explain(error)) from error


def explain(error: DBAPIError) -> str:
    """Say in a sentence what a database error means for the outbox and what to do."""
    words = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
    lowered = words.lower()
    if any(part in lowered for part in _NO_TABLE):
        return (
            "The outbox has no tables in this database yet. Run 'flask db migrate' and "
            "'flask db upgrade', or db.create_all(), or 'flask smtp-admin db upgrade' for a "
            f"database of its own. The database said: {words}"
        )
    if "locked" in lowered or "busy" in lowered:
        return (
            "The database is locked by another writer. Try again; if it stays so, look for a "
            f"transaction that is never committed. The database said: {words}"
        )
    return (
        "The outbox database cannot be used. Check that it runs, that its address is right and "
        f"that there is room on its disk. The database said: {words}"
    )


_NO_TABLE = ("no such table", "no such column", "doesn't exist", "does not exist", "unknown column")
