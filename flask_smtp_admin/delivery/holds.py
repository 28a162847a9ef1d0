"""How many sessions a worker may have with a server, so that all workers together keep the limit.

Owns the rows that say who has how many. Must not know SMTP, nor what goes over a session.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ..models import ConnectionHealth, SessionHold


def of_others(
    connection: sa.Connection, hold_id: str, connection_id: int, gone: datetime | None
) -> int:
    """Return how many sessions others have with the server of a connection.

    :param gone: a hold that ended before is of a worker that is gone; ``None``: that cannot be told.
    """
    return int(
        connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(SessionHold.sessions), 0)).where(
                SessionHold.connection_id == connection_id,
                SessionHold.id != hold_id,
                *(() if gone is None else (SessionHold.held_until > gone,)),
            )
        ).scalar_one()
    )


def put(
    connection: sa.Connection, hold_id: str, connection_id: int, sessions: int, until: datetime
) -> None:
    """Write down how many sessions are in use. Must run in a write transaction, under :func:`lock`.

    :param until: when the hold ends unless it is renewed; by the clock of the database.
    """
    changed = connection.execute(
        sa.update(SessionHold)
        .where(SessionHold.id == hold_id)
        .values(sessions=sessions, held_until=until)
    ).rowcount
    if not changed:
        connection.execute(
            sa.insert(SessionHold).values(
                id=hold_id, connection_id=connection_id, sessions=sessions, held_until=until
            )
        )


def renew(connection: sa.Connection, hold_id: str, *, now: datetime, until: datetime) -> bool:
    """Let a hold last longer; ``False``: it has ended, or is not there."""
    changed = connection.execute(
        sa.update(SessionHold)
        .where(SessionHold.id == hold_id, SessionHold.held_until > now)
        .values(held_until=until)
    ).rowcount
    return bool(changed)


def let_go(connection: sa.Connection, hold_id: str, keep: int = 0) -> None:
    """Leave the sessions to others, but for so many."""
    mine = SessionHold.id == hold_id
    if keep:
        connection.execute(sa.update(SessionHold).where(mine).values(sessions=keep))
    else:
        connection.execute(sa.delete(SessionHold).where(mine))


def forget(connection: sa.Connection, before: datetime) -> None:
    """Remove what workers that are gone have left."""
    connection.execute(sa.delete(SessionHold).where(SessionHold.held_until < before))


def lock(connection: sa.Connection, connection_id: int) -> bool:
    """Let one worker at a time count and claim; SQLite has one writer anyway.

    ``False``: the connection has been deleted.
    """
    found = connection.execute(
        sa.select(ConnectionHealth.connection_id)
        .where(ConnectionHealth.connection_id == connection_id)
        .with_for_update()
    ).first()
    return found is not None
