"""The limits of a connection: so many messages a minute, an hour, a day.

Owns counting what has been spent and saying when there is room again. Must not know SMTP. The count
is taken from the log, in the transaction of the claim and under the lock of the connection's health
row, so that it holds over any number of workers and survives all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..models import (
    Attempt,
    AttemptStatus,
    BreakerState,
    Connection,
    ConnectionHealth,
    Message,
    Status,
)
from .holds import lock

WINDOWS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
SHORTEST_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True)
class Limits:
    """Messages at most in each window; ``None``: no limit."""

    minute: int | None = None
    hour: int | None = None
    day: int | None = None

    @classmethod
    def of(cls, connection: Connection) -> Limits:
        """Take them from the connection's settings."""
        return cls(connection.limit_per_minute, connection.limit_per_hour, connection.limit_per_day)

    def set_ones(self) -> dict[str, int]:
        """Return the limits that there are, by the name of their window."""
        named = {"minute": self.minute, "hour": self.hour, "day": self.day}
        return {window: limit for window, limit in named.items() if limit is not None}


def allowance(
    connection: sa.Connection, connection_id: int, limits: Limits, wanted: int, now: datetime
) -> int:
    """Return how many messages may be claimed now, ``wanted`` at most.

    Where a limit is reached the connection is paused until there is room again. Must run in the
    transaction that claims.
    """
    set_ones = limits.set_ones()
    if not set_ones:
        return wanted
    lock(connection, connection_id)
    in_hand = connection.execute(
        sa.select(sa.func.count())
        .select_from(Message)
        .where(Message.status == Status.SENDING, Message.connection_id == connection_id)
    ).scalar_one()
    for window, limit in set_ones.items():
        spent = _spent(connection, connection_id, now - WINDOWS[window], limit)
        if len(spent) >= limit:
            again_at = max(spent[limit - 1] + WINDOWS[window], now + SHORTEST_PAUSE)
            _pause(connection, connection_id, again_at, window, limit)
            return 0
        wanted = min(wanted, limit - len(spent) - in_hand)
    return max(wanted, 0)


def _spent(
    connection: sa.Connection, connection_id: int, since: datetime, limit: int
) -> list[datetime]:
    """Return the times of the newest transactions in the window that a server may have counted."""
    rows = connection.execute(
        sa.select(Attempt.started_at)
        .where(
            Attempt.connection_id == connection_id,
            Attempt.started_at > since,
            sa.or_(Attempt.status == AttemptStatus.SUCCESS, Attempt.counted, _was_cut_off()),
        )
        .order_by(Attempt.started_at.desc())
        .limit(limit)
    )
    return list(rows.scalars())


def _was_cut_off() -> sa.ColumnElement[bool]:
    """Return the condition that its worker was gone before the outcome was known."""
    return sa.and_(Attempt.status == AttemptStatus.FAIL, Attempt.stage.is_(None))


def _pause(
    connection: sa.Connection, connection_id: int, until: datetime, window: str, limit: int
) -> None:
    connection.execute(
        sa.update(ConnectionHealth)
        .where(ConnectionHealth.connection_id == connection_id)
        .values(
            breaker=BreakerState.PAUSED,
            retry_at=until,
            last_reason=f"Its limit of {limit:,} messages a {window} is reached",
        )
    )
