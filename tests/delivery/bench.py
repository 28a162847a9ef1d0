"""The engine on a test's bench: a database, a clock that can be moved, and notes of what is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from flask_smtp_admin import own_database
from flask_smtp_admin.config import Config
from flask_smtp_admin.core import Core, utc_now
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.database import Database
from flask_smtp_admin.delivery.lease import Pace
from flask_smtp_admin.models import (
    Attempt,
    Base,
    Connection,
    ConnectionHealth,
    Encryption,
    Flight,
    Message,
    MessageBody,
    Recipient,
)
from flask_smtp_admin.outbox import SendOptions, enqueue
from flask_smtp_admin.signals import Event
from flask_smtp_admin.smtp import Draft, freeze
from flask_smtp_admin.worker import Worker
from tests.rows import a_connection, add

BRISK = Pace(lease=timedelta(seconds=3), margin=0.3, renew_every=0.5, sweep_every=0.3)
"""For tests that wait for the clockwork itself."""


class Server(Protocol):
    """Where a connection leads."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Clock:
    """The time, which a test may move."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.shift

    def forward(self, **span: float) -> None:
        self.shift += timedelta(**span)


class Bench:
    """One outbox, with everything that a test asks about it.

    :param empty: whether the database has no tables yet.
    """

    def __init__(self, url: str, *, empty: bool = True, **settings: Any) -> None:
        self.engine = own_database.make_engine(url, "")
        if empty:
            Base.metadata.create_all(self.engine)
        self.clock = Clock()
        self.events: list[Event] = []
        self.rings = 0
        self.core = Core(
            config=Config.from_mapping(
                {f"SMTP_ADMIN_{name.upper()}": value for name, value in settings.items()}
            ),
            database=Database(lambda: self.engine),
            keys=KeyRing(("a key for tests",)),
            publish=self.events.append,
            ring=self._ring,
            after_commit=lambda act: act(),
            now=self.clock,
        )

    def _ring(self) -> None:
        self.rings += 1

    # --- what there is --------------------------------------------------------------------------

    def connection(self, server: Server, caption: str = "Main", **fields: Any) -> int:
        """Store a connection to ``server``, without encryption and login unless told otherwise."""
        values: dict[str, Any] = {
            "host": server.host,
            "port": server.port,
            "encryption": Encryption.NONE,
            "use_auth": False,
            "reply_timeout": 20,
            "final_timeout": 20,
            **fields,
        }
        password = values.pop("password", None)
        row = a_connection(caption, **values)
        if password is not None:
            row.uid = "0" * 32
            row.set_password(password, self.core.keys, utc_now())
        add(self.engine, row)
        return int(row.id)

    def send(self, *recipients: str, subject: str = "Your order", **options: Any) -> int:
        """Enqueue a message and return its number."""
        draft = Draft(
            subject=subject,
            sender="shop@example.org",
            to=recipients or ("ann@example.org",),
            text=options.pop("text", "It is on its way.\n"),
        )
        frozen = freeze(draft, now=self.clock())
        return enqueue(self.core, frozen, SendOptions(**options)).id

    # --- delivering -----------------------------------------------------------------------------

    def worker(self, **options: Any) -> Worker:
        return Worker(self.core, **{"kind": "test", **options})

    def work(self) -> int:
        """Deliver what is due in this thread; return how many messages were accepted."""
        return self.worker().drain_alone()

    # --- what became of it ----------------------------------------------------------------------

    def rows(self, table: Any, *where: Any) -> list[Any]:
        with self.engine.connect() as connection:
            query = sa.select(table.__table__).where(*where)
            return list(connection.execute(query.order_by(*table.__table__.primary_key)))

    def message(self, number: int) -> Any:
        return self.rows(Message, Message.id == number)[0]

    def messages(self) -> list[Any]:
        return self.rows(Message)

    def statuses(self) -> list[str]:
        return [row.status.value for row in self.messages()]

    def recipients(self, number: int) -> dict[str, str]:
        rows = self.rows(Recipient, Recipient.message_id == number)
        return {row.address: row.status.value for row in rows}

    def attempts(self, number: int | None = None) -> list[Any]:
        return self.rows(Attempt, *([] if number is None else [Attempt.message_id == number]))

    def in_flight(self) -> dict[int, str]:
        """Return the claims of the marks, by the numbers of their messages."""
        return {row.message_id: row.lease_token for row in self.rows(Flight)}

    def bodies(self) -> list[int]:
        return [row.message_id for row in self.rows(MessageBody)]

    def health(self, number: int) -> Any:
        found = self.rows(ConnectionHealth, ConnectionHealth.connection_id == number)
        return found[0] if found else None

    def told(self, *codes: str) -> list[Event]:
        return [event for event in self.events if not codes or event.code in codes]

    def codes(self) -> list[str]:
        """Return the codes of the events, but for those of queueing."""
        return [event.code for event in self.events if event.code != "message_queued"]

    def change(self, table: Any, *where: Any, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.update(table).where(*where).values(**values))


@contextmanager
def a_bench(url: str, *, empty: bool = True, **settings: Any) -> Iterator[Bench]:
    made = Bench(url, empty=empty, **settings)
    try:
        yield made
    finally:
        made.engine.dispose()


def connection_of(bench: Bench, number: int) -> Any:
    return bench.rows(Connection, Connection.id == number)[0]
