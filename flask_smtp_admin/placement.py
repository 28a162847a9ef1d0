"""Where one application's outbox lives, found out as late as possible.

Owns the choice between the host's Flask-SQLAlchemy and a database of our own, and the first use of
either. Must not know what is stored there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy

from . import host_database, own_database
from .config import Config
from .database import Database
from .direct import shares_one_connection
from .errors import ConfigurationError, OutboxUnavailable
from .forked import Forked

FirstUse = Callable[[sa.Connection | None], None]
"""What happens at the first use; it is given the connection of the caller's transaction."""


def inside(app: Flask) -> AbstractContextManager[object]:
    """Return the application's context, or nothing where the caller is in it already.

    The end of a context ends the session of the host, where that belongs to the thread.
    """
    return nullcontext() if _is_inside(app) else app.app_context()


def _is_inside(app: Flask) -> bool:
    return has_app_context() and current_app == app


class Placement:
    """The database of one application's outbox.

    :param db: the Flask-SQLAlchemy object to use; default: whatever the application registers.
    """

    def __init__(self, app: Flask, config: Config, db: SQLAlchemy | None) -> None:
        self._app = app
        self._config = config
        self._db = None if config.database_uri else db
        self._table: sa.Table | None = None
        self._engine: sa.Engine | None = None
        self._engines: Mapping[str | None, sa.Engine | sa.Connection] | None = None
        self._make_locks()
        self._first_use: FirstUse = lambda _link: None
        self._used = self._is_being_used = False
        self.database = Database(
            self._get_engine,
            joined=self._joined,
            prepare=self._prepare,
            is_hosts=self._is_hosts,
        )
        if db is not None and config.database_uri is None:
            self._adopt(db)
        _placements.add(self)

    def _make_locks(self) -> None:
        self._lock = threading.RLock()
        # Apart from the other: the first use waits for the database, whose lock somebody may have
        # who asks for the engine.
        self._first_use_lock = threading.RLock()

    def after_fork(self) -> None:
        """Begin anew in a child process, which has neither the threads nor a right to the links.

        Two processes that talk over one link to a server read each other's answers. The host's engine
        is the host's business.
        """
        self._make_locks()
        self._is_being_used = False
        # A database in memory is that link, and the child has a copy of it.
        if self._engine is not None and not shares_one_connection(self._engine):
            self._engine.dispose(close=False)

    def on_first_use(self, act: FirstUse) -> None:
        """Have ``act`` run when the database is used for the first time in this process.

        Where that use is part of the caller's transaction, it is given its connection, and is run
        again with the next use until such a transaction has committed.
        """
        self._first_use = act

    def settle(self) -> None:
        """Adopt the host's Flask-SQLAlchemy if it has appeared since."""
        if self._db is not None:
            host_database.watch(self._db)  # a test of the host may have given it another session
        elif self._engine is None and self._config.database_uri is None:
            db = self._app.extensions.get("sqlalchemy")
            if db is not None:
                self._adopt(db)

    def in_memory(self) -> bool:
        """Tell whether it is an SQLite database that lives in this process alone."""
        url = self._get_engine().engine.url
        return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")

    def after_commit(self, act: Callable[[], None]) -> None:
        """Run ``act`` after the caller's transaction has committed, never if it rolls back."""
        if self._db is None:
            act()
        else:
            host_database.after_commit(host_database.session_of(self._db), act)

    def _is_hosts(self) -> bool:
        self.settle()
        return self._db is not None

    def _adopt(self, db: SQLAlchemy) -> None:
        with self._lock:
            self._db = db
            self._table = host_database.attach_tables(db, self._config.bind_key)
            host_database.watch(db)

    def _get_engine(self) -> sa.Engine | sa.Connection:
        with self._lock:
            if self._engine is None:
                self.settle()
                if self._db is not None:
                    return self._host_engine(self._db)
                self._engine = self._own_engine()
            return self._engine

    def _own_engine(self) -> sa.Engine:
        if self._config.bind_key is not None:
            raise ConfigurationError(
                "SMTP_ADMIN_BIND_KEY is set, but the application has no Flask-SQLAlchemy; remove "
                "the key, or call db.init_app(app)."
            )
        return own_database.make_engine(self._config.database_uri, self._app.instance_path)

    def _host_engine(self, db: SQLAlchemy) -> sa.Engine | sa.Connection:
        if self._engines is None:
            with inside(self._app):
                self._engines = db.engines
        if self._config.bind_key not in self._engines:
            raise ConfigurationError(self._missing_bind())
        if _is_inside(self._app):
            # A test of the host may have bound its session to one connection.
            bind = host_database.session_of(db).get_bind(clause=self._table)
            if isinstance(bind, sa.Connection):
                return bind
        return self._engines[self._config.bind_key]

    def _missing_bind(self) -> str:
        if self._config.bind_key is None:
            return (
                "The application has no SQLALCHEMY_DATABASE_URI for the outbox to be in; set it, "
                "or name one of SQLALCHEMY_BINDS in SMTP_ADMIN_BIND_KEY."
            )
        return (
            f"SMTP_ADMIN_BIND_KEY is {self._config.bind_key!r}, which is not a key of "
            "SQLALCHEMY_BINDS; add it there."
        )

    def _joined(self) -> sa.Connection | None:
        found = self._get_engine()
        if self._db is None:
            return None
        session = host_database.session_of(self._db)
        if not host_database.holds_writes(session):
            if isinstance(found, sa.Engine):
                host_database.let_go_of_lock(session)
            return None
        link = session.connection(bind_arguments={"clause": self._table})
        if not self._used:
            self._first_use(link)
            host_database.after_commit(session, lambda: self._note_use(found))
        return link

    def _prepare(self, found: sa.Engine | sa.Connection) -> None:
        if not self._used:
            with self._first_use_lock:
                self._use_first(found)

    def _use_first(self, found: sa.Engine | sa.Connection) -> None:
        if self._used or self._is_being_used:
            return  # another thread was first, or it is the first use itself that comes back here
        if self._has_joined():
            return  # it has happened in the caller's transaction, for which this one would wait
        if self._db is None:
            own_database.prepare(found.engine)
        self._is_being_used = True
        try:
            self._first_use(None)
        except OutboxUnavailable:
            return  # the host has not created its tables yet; whoever asked will be told
        finally:
            self._is_being_used = False
        self._note_use(found)

    def _has_joined(self) -> bool:
        if self._db is None or not _is_inside(self._app):
            return False
        return host_database.awaits_commit(host_database.session_of(self._db))

    def _note_use(self, found: sa.Engine | sa.Connection) -> None:
        # What is done in the one transaction of a test of the host is rolled back with it.
        self._used = isinstance(found, sa.Engine)


_placements = Forked(Placement.after_fork)
