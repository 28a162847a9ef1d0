"""A database of the outbox's own, where the host has no Flask-SQLAlchemy or wants it apart.

Owns making the engine and preparing its tables. Must not know Flask beyond the folder it is given.
"""

from __future__ import annotations

import os
import select
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from . import migrations
from .database import IDLE_TRANSACTION_SECONDS
from .errors import ConfigurationError

FILE_NAME = "smtp-admin.sqlite3"
BUSY_SECONDS = 30.0
WAL_PAUSE = 0.02
"""Seconds."""
PAGE_BYTES = 2_048
"""Half of SQLite's default. A commit writes each page that it changed in full, and few bytes of each
are new: it writes half as much this way. A file that has tables keeps what it was made with."""
CHECKPOINT_BYTES = 16_000_000
"""The size of SQLite's log at which it is moved into the file. Four times its default: a busy outbox
changes the same pages again and again, and each is moved once."""
ASK_AFTER = 30.0
"""Seconds after which a connection to a server is asked whether it still works."""

CONNECT_SECONDS = 10
LIVENESS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How libpq finds out that a server is gone without a word
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS). What the address says
comes first."""

_USED = "smtp_admin_used"


def make_engine(uri: str | None, instance_folder: str) -> sa.Engine:
    """Return the engine for ``uri``, or for an SQLite file in the instance folder.

    :raises ConfigurationError: the address is not one that SQLAlchemy understands, its driver is
        not installed, or the folder cannot be made.
    """
    if uri is None:
        uri = f"sqlite:///{_instance_file(instance_folder)}"
    try:
        url = sa.make_url(uri)
        if url.get_backend_name() == "sqlite":
            engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
            sa.event.listen(engine, "connect", _prepare_sqlite)
            return engine
        return _server_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
        raise ConfigurationError(
            "SMTP_ADMIN_DATABASE_URI is not an address that SQLAlchemy understands; write for "
            "instance 'postgresql+psycopg://user:password@host/name'."
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The driver of SMTP_ADMIN_DATABASE_URI is not installed ({error.name}); install "
            "flask-smtp-admin[postgresql] or flask-smtp-admin[mysql]."
        ) from error


def _server_engine(url: sa.URL) -> sa.Engine:
    """Return an engine that finds a connection that ended meanwhile before it is used.

    SQLAlchemy's own way is a question to the server at each use, which costs as much as storing
    half a message.
    """
    sees = url.get_driver_name() == "psycopg" and hasattr(select, "poll")
    # The last one used comes first: it has the plans of what is asked again and again.
    engine = sa.create_engine(
        url, pool_pre_ping=not sees, pool_use_lifo=True, connect_args=_liveness(url)
    )
    sa.event.listen(engine, "connect", partial(_bound_transactions, engine.dialect))
    if sees:
        sa.event.listen(engine, "checkout", partial(_ask_when_in_doubt, engine.dialect))
    return engine


def _liveness(url: sa.URL) -> dict[str, int]:
    if url.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    return {name: value for name, value in LIVENESS.items() if name not in url.query}


def _bound_transactions(dialect: sa.Dialect, driver_connection: Any, record: object) -> None:
    """Have the server end transactions whose process says nothing any more.

    That of one that was stopped would lock out everybody else. MySQL knows no such thing.
    """
    if dialect.name == "postgresql":
        words = f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'"
    elif getattr(dialect, "is_mariadb", False):
        words = f"SET SESSION idle_transaction_timeout = {IDLE_TRANSACTION_SECONDS}"
    else:
        return
    cursor = driver_connection.cursor()
    cursor.execute(words)
    cursor.close()
    driver_connection.commit()


def _ask_when_in_doubt(
    dialect: sa.Dialect, driver_connection: Any, record: Any, proxy: object
) -> None:
    """Ask the server of a connection that rested for long, or that has something to read.

    A server that ends a connection says so, and nothing else is to be read on an idle one. What
    lies between and forgets connections says nothing, but takes minutes to forget one.

    :raises InvalidatePoolError: it has ended; SQLAlchemy then opens another.
    """
    now = time.monotonic()
    rested = now - record.info.get(_USED, now)
    record.info[_USED] = now
    try:
        if rested >= ASK_AFTER or _has_something_to_read(driver_connection.fileno()):
            dialect.do_ping(driver_connection)
    except dialect.loaded_dbapi.Error as error:
        raise sa.exc.InvalidatePoolError("The connection has ended.") from error


def _has_something_to_read(descriptor: int) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(0))


def _instance_file(folder: str) -> Path:
    """Return the file, made for its owner alone where it did not exist: it holds mail."""
    path = Path(folder)
    try:
        # The mode is that of the last folder only, and a folder that exists keeps its own.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The instance folder {path} cannot be made ({error.strerror}). Create it, or set "
            "SMTP_ADMIN_DATABASE_URI to the address of a database."
        ) from error
    file = path / FILE_NAME
    _make_private(file)
    return file


def _make_private(file: Path) -> None:
    """Create an empty file with mode 0600; SQLite gives that mode to its -wal and -shm, too."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigurationError(
            f"The database {file} cannot be made ({error.strerror}). Make its folder writable, or "
            "set SMTP_ADMIN_DATABASE_URI to the address of a database."
        ) from error


def _prepare_sqlite(driver_connection: Any, record: object) -> None:
    """Readers and the writer do not wait for each other, and a commit survives a power cut."""
    cursor = driver_connection.cursor()
    cursor.execute(f"PRAGMA page_size={PAGE_BYTES}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    [page_bytes] = cursor.execute("PRAGMA page_size").fetchone()
    cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page_bytes}")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Wait for other processes that switch the same new file.

    SQLite's own busy time-out does not count for this one step: it fails at once, since two that
    waited for each other would do so for ever (https://www.sqlite.org/c3ref/busy_handler.html).
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(WAL_PAUSE)
        else:
            return


def prepare(engine: sa.Engine) -> None:
    """Create the tables, or bring them up to date."""
    if migrations.current(engine) != migrations.head():
        migrations.upgrade(engine)
