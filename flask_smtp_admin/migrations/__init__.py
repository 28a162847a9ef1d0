"""Creating and upgrading the tables of a database that the outbox owns.

Owns the Alembic environment and its versions. Must not know Flask. A database that belongs to the
host is never touched from here: its own migrations do that.
"""

from __future__ import annotations

from importlib import resources

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ..models.base import PREFIX

VERSION_TABLE = PREFIX + "version"
_POSTGRESQL_LOCK = 0x534D5450
"""Any number that is always the same: the letters "SMTP"."""


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files(__name__)))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """Return the revision that this version of the package needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None, "the package ships at least one revision"
    return revision


def current(engine: sa.Engine) -> str | None:
    """Return the revision that the database has, or ``None`` when it has no tables."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def upgrade(engine: sa.Engine) -> None:
    """Bring the tables to :func:`head`, safe against other processes that do the same."""
    with engine.connect() as connection, connection.begin():
        _lock(connection)
        command.upgrade(_config(connection), "head")


def _lock(connection: sa.Connection) -> None:
    """Let one process migrate at a time; the lock ends with the transaction or connection."""
    name = connection.dialect.name
    if name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))
    elif name in ("mysql", "mariadb"):
        connection.execute(sa.select(sa.func.get_lock(VERSION_TABLE, 60)))
