"""A transaction on the driver's own connection, without SQLAlchemy in between.

Owns beginning and ending it, and errors in SQLAlchemy's classes, so that whoever catches them need
not know the difference. For statements that were compiled beforehand: of what such a one costs on
SQLite, SQLAlchemy's share is four fifths. Must not know any table, nor when this is allowed: what an
application hooks into its engine sees nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection, SingletonThreadPool, StaticPool

DRIVERS = frozenset({"pysqlite", "psycopg"})
"""The drivers whose transactions are known here."""


class Done:
    """What came of a statement: the few of SQLAlchemy's names for it that are needed."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def returns_rows(self) -> bool:
        """Whether there are rows to fetch."""
        return self._cursor.description is not None

    @property
    def rowcount(self) -> int:
        """The rows changed."""
        return int(self._cursor.rowcount)

    @property
    def lastrowid(self) -> int:
        """The number of the row that was inserted, where the driver tells it."""
        return int(self._cursor.lastrowid)

    def first(self) -> Any:
        """Return the first row, or ``None``."""
        return self._cursor.fetchone()

    def all(self) -> Any:
        """Return the rows."""
        return self._cursor.fetchall()

    def scalar_one(self) -> Any:
        """Return the first value of the first row."""
        return self._cursor.fetchone()[0]


class Direct:
    """The connection inside a :func:`transaction`."""

    def __init__(self, dialect: Dialect, driver_connection: Any) -> None:
        self.dialect = dialect
        self.driver_connection = driver_connection

    def exec_driver_sql(self, words: str, values: Any, *, often: bool = False) -> Done:
        """Execute a statement in the driver's words; a list of values executes it for each.

        :param often: on PostgreSQL, have it prepared at once, and its rows sent as they are kept.
        :raises DBAPIError: as SQLAlchemy does.
        """
        cursor = self.driver_connection.cursor()
        try:
            if isinstance(values, list):
                cursor.executemany(words, values)
            elif often and self.dialect.name == "postgresql":
                cursor.execute(words, values, prepare=True, binary=True)
            else:
                cursor.execute(words, values)
        except self.dialect.loaded_dbapi.Error as error:
            raise translated(error, self.dialect, words) from error
        return Done(cursor)


def translated(error: Exception, dialect: Dialect, words: str | None = None) -> BaseException:
    """Return an error of the driver in SQLAlchemy's class for it."""
    # The values are left out: they are somebody's mail.
    return DBAPIError.instance(words, None, error, dialect.loaded_dbapi.Error, dialect=dialect)


def is_possible(engine: Engine) -> bool:
    """Tell whether :func:`transaction` can be used."""
    return engine.dialect.driver in DRIVERS and not shares_one_connection(engine)


def shares_one_connection(engine: Engine) -> bool:
    """Tell whether several transactions of one thread are really one, as with SQLite in memory.

    A transaction that is open there may be the caller's, with writes that must not be lost.
    """
    return isinstance(engine.pool, (StaticPool, SingletonThreadPool))


@contextmanager
def transaction(engine: Engine, *, single: bool) -> Iterator[Direct]:
    """Give a connection in a transaction that commits at the end and rolls back on an error.

    On SQLite it begins with the write lock.

    :param single: it is a single statement, which on PostgreSQL then commits by itself: a BEGIN and
        a COMMIT around it are questions, too, each of which has to be answered.
    """
    dialect = engine.dialect
    link: PoolProxiedConnection | None = None
    try:
        link = engine.raw_connection()
        driver: Any = link.dbapi_connection
        commits_alone = single and dialect.name == "postgresql"
        if commits_alone:
            driver.autocommit = True
        direct = Direct(dialect, driver)
        if dialect.name == "sqlite":
            direct.exec_driver_sql("BEGIN IMMEDIATE", ())
        yield direct
        driver.commit()
        if commits_alone:
            driver.autocommit = False
    except BaseException as error:
        if link is not None:
            _give_up(link, dialect, error)
        if isinstance(error, dialect.loaded_dbapi.Error):
            raise translated(error, dialect) from error
        raise
    link.close()


def _give_up(link: PoolProxiedConnection, dialect: Dialect, error: BaseException) -> None:
    """Give a connection back after an error, for use if it is of any."""
    driver: Any = link.dbapi_connection
    try:
        driver.rollback()
        if dialect.name == "postgresql":
            driver.autocommit = False
    except dialect.loaded_dbapi.Error as broken:
        link.invalidate(broken)
    link.close()
