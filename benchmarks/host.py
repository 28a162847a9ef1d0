"""An application with this package, as the contenders use it.

Owns its configuration and how it is filled. Knows the few entry points that are measured: if they
change, they change here.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_mail import Message

from benchmarks.message import HTML, RECIPIENT, SENDER, TEXT, subject
from flask_smtp_admin import SMTPAdmin
from flask_smtp_admin.core import EXTENSION_KEY, Core, State
from flask_smtp_admin.delivery import carriers, claim, claim_in_one
from flask_smtp_admin.models import Connection
from flask_smtp_admin.worker import Worker

SECRET_KEY = "0d1d8a6c3a5f4b6f9a7e1c2b3d4e5f60"
MESSAGES_PER_SESSION = 10_000
LEASE = timedelta(minutes=1)


def make_app(database: str, **config: Any) -> tuple[Flask, SMTPAdmin]:
    """Return an application whose outbox is at that URL; nobody delivers unless ``config`` says."""
    app = Flask("benchmarks")
    app.config.update(
        SECRET_KEY=SECRET_KEY,
        SMTP_ADMIN_DATABASE_URI=database,
        SMTP_ADMIN_DISPATCH="none",
        MAIL_DEFAULT_SENDER=SENDER,
    )
    app.config.update(config)
    return app, SMTPAdmin(app)


def core_of(app: Flask) -> Core:
    """Return what a worker works for."""
    state: State = app.extensions[EXTENSION_KEY]
    return state.core


def add_connection(smtp_admin: SMTPAdmin, port: int, sessions: int) -> int:
    """Store the connection to the sink; call it in the application's context."""
    return smtp_admin.add_connection(
        caption="Sink",
        host="127.0.0.1",
        port=port,
        encryption="none",
        use_auth=False,
        sender_name="Shop",
        sender_address=SENDER,
        max_sessions=sessions,
        messages_per_session=MESSAGES_PER_SESSION,
    )


def limit_sessions(core: Core, sessions: int) -> None:
    """Have the connection take so many sessions; its port and all else stay."""
    with core.database.engine.begin() as connection:
        connection.execute(sa.update(Connection).values(max_sessions=sessions))


class Claimer:
    """Claims from a connection as the lanes of a worker do: on PostgreSQL in one statement.

    :raises LookupError: there is no such connection.
    """

    def __init__(self, core: Core, connection_id: int) -> None:
        carrier = carriers.find(core, connection_id)
        if carrier is None:
            raise LookupError(f"No connection has the number {connection_id}.")
        self._core, self._carrier = core, carrier
        self._is_in_one = claim_in_one.is_possible(core.database.bare_engine.dialect)

    def claim(self, limit: int, now: datetime) -> int:
        """Claim messages that are due at ``now``, and return how many there were."""
        token = str(uuid.uuid4())
        with self._core.database.write_rows(single=self._is_in_one) as rows:
            if self._is_in_one:
                claimed = claim_in_one.claim_current(
                    rows,
                    self._carrier,
                    limit=limit,
                    token=token,
                    since=now,
                    now=now,
                    lasts=LEASE,
                )
            else:
                claimed = claim.claim(
                    rows,
                    self._carrier.id,
                    limit=limit,
                    token=token,
                    now=now,
                    lease_until=now + LEASE,
                )
        return len(claimed or ())


def make_message(number: int) -> Message:
    """Return a message as a view would make it."""
    return Message(subject(number), recipients=[RECIPIENT], body=TEXT, html=HTML)


def make_worker(core: Core, sessions: int) -> Worker:
    """Return a worker that drains the queue and ends."""
    return Worker(core, kind="burst", sessions=sessions)
