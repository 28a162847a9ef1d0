"""Host applications for tests: what a developer would write, with nothing in the way of a test.

The outbox of an application that a test makes delivers nothing unless the test says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_smtp_admin import SMTPAdmin, signals
from flask_smtp_admin.core import EXTENSION_KEY, Core, State
from flask_smtp_admin.models import Message, MessageBody

SECRET_KEY = "0d1d8a6c3a5f4b6f9a7e1c2b3d4e5f60"
SENDER = "shop@example.org"


class MakeApp(Protocol):
    """What the fixture ``make_app`` is: keys of the configuration in, an application out."""

    def __call__(self, **config: Any) -> Flask: ...


def bare_app(folder: Path, **config: Any) -> Flask:
    """Return an application without any extension, whose instance folder is ``folder``."""
    app = Flask("host", instance_path=str(folder))
    app.config.update(SECRET_KEY=SECRET_KEY, MAIL_DEFAULT_SENDER=SENDER, SMTP_ADMIN_DISPATCH="none")
    app.config.update(config)
    return app


def core_of(app: Flask) -> Core:
    state: State = app.extensions[EXTENSION_KEY]
    return state.core


def engine_of(app: Flask) -> sa.Engine:
    """Return the engine of the application's outbox, its tables being there if it owns them."""
    return core_of(app).database.engine


class Host:
    """An application with a table of its own beside the outbox, and notes of what was told.

    :param database_url: of its Flask-SQLAlchemy.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        session_options: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.app = bare_app(folder, **{"SQLALCHEMY_DATABASE_URI": database_url, **config})
        self.db = SQLAlchemy(session_options=session_options)
        self.db.init_app(self.app)
        self.smtp_admin = SMTPAdmin(self.app)
        self.Order: Any = order_model(self.db)
        self.queued: list[signals.Event] = []
        self.rings = 0
        signals.message_queued.connect(self._on_queued, sender=self.app)
        self._count_rings()
        with self.app.app_context():
            self.db.create_all()

    def _on_queued(self, app: Flask, event: signals.Event) -> None:
        self.queued.append(event)

    def _count_rings(self) -> None:
        core = core_of(self.app)
        ring = core.ring

        def counted() -> None:
            self.rings += 1
            ring()

        object.__setattr__(core, "ring", counted)

    def close(self) -> None:
        with self.app.app_context():
            self.db.session.remove()
            for engine in self.db.engines.values():
                engine.dispose()

    def stored(self) -> list[str]:
        """Return the subjects of the stored messages, as another connection sees them."""
        with core_of(self.app).database.engine.connect() as connection:
            return list(connection.scalars(sa.select(Message.subject).order_by(Message.id)))

    def orders(self) -> list[str]:
        """Return the names of the stored orders, as another connection sees them."""
        with self.app.app_context():
            engine = self.db.engines[self.Order.__table__.metadata.info.get("bind_key")]
        with engine.connect() as connection:
            return list(connection.scalars(sa.select(self.Order.__table__.c.name)))

    def told(self) -> list[str | None]:
        """Return the subjects that ``message_queued`` spoke of."""
        return [event.subject for event in self.queued]


def order_model(db: SQLAlchemy, bind_key: str | None = None) -> Any:
    """Return a table class of the host's."""

    class Order(db.Model):  # type: ignore[name-defined,misc]
        if bind_key is not None:
            __bind_key__ = bind_key
        id = sa.orm.mapped_column(sa.Integer, primary_key=True)
        name = sa.orm.mapped_column(sa.String(50), unique=True)

    return Order


def bodies(app: Flask) -> dict[str, bytes]:
    """Return the stored bytes of every message, by subject."""
    found: dict[str, bytes] = {}
    with engine_of(app).connect() as connection:
        rows = connection.execute(
            sa.select(Message.subject, MessageBody.content)
            .join(MessageBody, MessageBody.message_id == Message.id)
            .order_by(Message.id, MessageBody.part)
        )
        for row in rows:
            found[row.subject] = found.get(row.subject, b"") + row.content
    return found


def rows_of(app: Flask, table: Any) -> list[dict[str, Any]]:
    """Return all rows of a table as dictionaries, in order of their number."""
    with engine_of(app).connect() as connection:
        rows = connection.execute(sa.select(table.__table__)).mappings()
        return [dict(row) for row in rows]
