"""Creating and upgrading the tables of a database that the outbox owns.

Owns the Alembic environment and its versions. Must not know Flask. A database that belongs to the
host is never touched from here: its own migrations do that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..errors import ConfigurationError
from ..models.base import PREFIX

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = PREFIX + "version"
_POSTGRESQL_LOCK = 0x534D5450
"""Any number that is always the same: the letters "SMTP"."""
_LOCK_SECONDS = 60
_A_TABLE = PREFIX + "message"
_FOREIGN_TABLES = (
    "The database of SMTP_ADMIN_DATABASE_URI holds tables of an outbox without their version: an "
    "application made them with db.create_all() or 'flask db upgrade', or making them was "
    "interrupted. Name another database, or remove SMTP_ADMIN_DATABASE_URI if it is the "
    "application's own, or drop the tables if nothing is in them."
)

HEAD = "0001"
"""The newest revision in ``versions/``. Written out, so that a start that has nothing to migrate
does not load Alembic; a test compares."""


def _config(connection: sa.Connection | None = None) -> Config:
    from alembic.config import Config  # noqa: PLC0415  (costs every start of an application)

    config = Config()
    config.set_main_option("script_location", str(resources.files(__name__)))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """Return the revision that this version of the package needs."""
    return HEAD


def current(engine: sa.Engine) -> str | None:
    """Return the revision that the database has, or ``None`` when it has no tables."""
    with engine.connect() as connection:
        return _version(connection)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    table = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))
    found: str | None = connection.scalar(sa.select(table.c.version_num))
    return found


def upgrade(engine: sa.Engine) -> None:
    """Bring the tables to :func:`head`, safe against other processes that do the same.

    :raises ConfigurationError: the tables are there, and somebody else has made them.
    """
    from alembic import command  # noqa: PLC0415  (as above)

    with engine.connect() as connection, _alone(connection):
        if _version(connection) is None and sa.inspect(connection).has_table(_A_TABLE):
            raise ConfigurationError(_FOREIGN_TABLES)
        command.upgrade(_config(connection), "head")


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """Give a transaction in which no other process migrates."""
    if connection.dialect.name in ("mysql", "mariadb"):
        with _named_lock(connection), connection.begin():
            yield
        return
    with connection.begin():  # the lock ends with it
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))
        yield


@contextmanager
def _named_lock(connection: sa.Connection) -> Iterator[None]:
    """Hold a lock around a transaction, since that of MariaDB ends with each change of a table.

    Released before the transaction had committed, it would let somebody in who does not see the
    version yet.
    """
    connection.execute(sa.select(sa.func.get_lock(VERSION_TABLE, _LOCK_SECONDS)))
    connection.commit()
    try:
        yield
    finally:
        # It would stay with the connection, which goes back into the pool.
        connection.execute(sa.select(sa.func.release_lock(VERSION_TABLE)))
        connection.commit()
