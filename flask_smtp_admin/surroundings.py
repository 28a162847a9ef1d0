"""Reading what the explanation of a message needs to know besides it.

Owns the queries, so that :mod:`flask_smtp_admin.explanation` stays pure. Must not know Flask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .core import Core
from .explanation import Surroundings, obstacle
from .models import Connection, Flight, Message, Status, Worker
from .models.worker import ALIVE_WITHIN
from .search import Known, Obstacle


def read(session: Session, core: Core, dispatch: str) -> Surroundings:
    """Read the connections with their health, and whether a worker is alive.

    :param dispatch: who delivers, as the application resolved it.
    """
    now = core.database_time(session.connection())  # as for workers
    alive = session.scalar(
        sa.select(Worker.id)
        .where(Worker.seen_at >= now - ALIVE_WITHIN, Worker.stopped_at.is_(None))
        .limit(1)
    )
    return Surroundings(
        now=now,
        zone=core.config.zone,
        connections=_connections(session),
        max_attempts=core.config.max_attempts,
        # Inline there is no worker to be seen: whoever sends also delivers.
        worker_alive=None if dispatch == "inline" else alive is not None,
    )


def known(session: Session, core: Core) -> Known:
    """Read what a search is read against: the connections, and what keeps their messages."""
    now = core.database_time(session.connection())
    around = Surroundings(now, core.config.zone, _connections(session))
    connections = around.connections or {}
    return Known(
        now=around.now,
        zone=around.zone,
        connections={one.id: one.caption for one in connections.values()},
        obstacles=tuple(_obstacles(around, [*connections, None])),
    )


def _obstacles(around: Surroundings, numbers: list[int | None]) -> Iterator[Obstacle]:
    for number in numbers:
        # Of a message that is due, this needs to know no more.
        due = Message(connection_id=number, due_at=around.now, sender="-")
        found = obstacle(due, around)
        if found is not None:
            yield Obstacle(number, found.detail, found.next_at)


def _connections(session: Session) -> dict[int, Connection]:
    rows = session.scalars(sa.select(Connection).order_by(Connection.position, Connection.id))
    return {connection.id: connection for connection in rows.unique()}


def of_messages(session: Session, around: Surroundings, found: Iterable[Message]) -> Surroundings:
    """Return the surroundings with what these messages need to know besides: their marks.

    A worker claims several messages at once, of which it sends one after the other.
    """
    numbers = [message.id for message in found if message.status is Status.SENDING]
    if not numbers:
        return around
    begun = session.scalars(sa.select(Flight.message_id).where(Flight.message_id.in_(numbers)))
    return replace(around, in_progress=frozenset(begun))
