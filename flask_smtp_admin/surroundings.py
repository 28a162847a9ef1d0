"""Reading what the explanation of a message needs to know besides it.

Owns the queries, so that :mod:`flask_smtp_admin.explanation` stays pure. Must not know Flask.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .core import Core
from .explanation import Surroundings
from .models import Connection, Worker
from .models.worker import ALIVE_WITHIN


def read(session: Session, core: Core, dispatch: str) -> Surroundings:
    """Read the connections with their health, and whether a worker is alive.

    :param dispatch: who delivers, as the application resolved it.
    """
    now = core.now()
    connections = session.scalars(
        sa.select(Connection).order_by(Connection.position, Connection.id)
    ).unique()
    alive = session.scalar(
        sa.select(Worker.id)
        .where(Worker.seen_at >= now - ALIVE_WITHIN, Worker.stopped_at.is_(None))
        .limit(1)
    )
    return Surroundings(
        now=now,
        zone=core.config.zone,
        connections={connection.id: connection for connection in connections},
        max_attempts=core.config.max_attempts,
        # Inline there is no worker to be seen: whoever sends also delivers.
        worker_alive=None if dispatch == "inline" else alive is not None,
    )
