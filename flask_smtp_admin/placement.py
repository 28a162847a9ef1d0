"""Where one application's outbox lives, found out as late as possible.

Owns the choice between the host's Flask-SQLAlchemy and a database of our own, and the first use of
either. Must not know what is stored there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from . import host_database, own_database
from .config import Config
from .database import Database
from .errors import ConfigurationError, OutboxUnavailable


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
        self._lock = threading.RLock()
        self._first_use: Callable[[], None] = lambda: None
        self._used = False
        self.database = Database(
            self._get_engine,
            joined=self._joined,
            prepare=self._prepare,
            is_hosts=self._is_hosts,
        )
        if db is not None and config.database_uri is None:
            self._adopt(db)

    def on_first_use(self, act: Callable[[], None]) -> None:
        """Have ``act`` run once, when the database is used for the first time in this process."""
        self._first_use = act

    def settle(self) -> None:
        """Adopt the host's Flask-SQLAlchemy if it has appeared since."""
        if self._db is None and self._engine is None and self._config.database_uri is None:
            db = self._app.extensions.get("sqlalchemy")
            if db is not None:
                self._adopt(db)

    def in_memory(self) -> bool:
        """Tell whether it is an SQLite database that lives in this process alone."""
        url = self._get_engine().url
        return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")

    def after_commit(self, act: Callable[[], None]) -> None:
        """Run ``act`` after the caller's transaction has committed, never if it rolls back."""
        if self._db is None:
            act()
        else:
            host_database.after_commit(self._db.session(), act)

    def _is_hosts(self) -> bool:
        self.settle()
        return self._db is not None

    def _adopt(self, db: SQLAlchemy) -> None:
        with self._lock:
            self._db = db
            self._table = host_database.attach_tables(db, self._config.bind_key)
            host_database.watch(db)

    def _get_engine(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                self.settle()
                self._engine = self._own_engine() if self._db is None else self._host_engine()
            return self._engine

    def _own_engine(self) -> sa.Engine:
        if self._config.bind_key is not None:
            raise ConfigurationError(
                "SMTP_ADMIN_BIND_KEY is set, but the application has no Flask-SQLAlchemy; remove "
                "the key, or call db.init_app(app)."
            )
        return own_database.make_engine(self._config.database_uri, self._app.instance_path)

    def _host_engine(self) -> sa.Engine:
        assert self._db is not None
        with self._app.app_context():
            engines = self._db.engines
        if self._config.bind_key not in engines:
            raise ConfigurationError(
                f"SMTP_ADMIN_BIND_KEY is {self._config.bind_key!r}, which is not a key of "
                "SQLALCHEMY_BINDS; add it there."
            )
        return engines[self._config.bind_key]

    def _joined(self) -> sa.Connection | None:
        self._get_engine()
        if self._db is None or not host_database.holds_writes(self._db.session()):
            return None
        return self._db.session().connection(bind_arguments={"clause": self._table})

    def _prepare(self, engine: sa.Engine) -> None:
        if not self._used:
            with self._lock:
                self._use_first(engine)

    def _use_first(self, engine: sa.Engine) -> None:
        if self._used:
            return  # another thread was first
        if self._db is None:
            own_database.prepare(engine)
        self._used = True  # before the first use, which comes back here
        try:
            self._first_use()
        except OutboxUnavailable:
            # The host has not created its tables yet; whoever asked will be told.
            self._used = False
