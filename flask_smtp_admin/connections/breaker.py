"""Closing a connection's breaker, whoever found that the connection works.

Owns what a success writes to a connection's health, and what the host is told of that; a worker's
message and a person's test count the same. Must not know how a failure counts: that is for delivery,
which meets failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from flask_smtp_admin import retry
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Encryption
from flask_smtp_admin.signals import Event


@dataclass(frozen=True)
class Began:
    """When something began that succeeded.

    :param message: the message. What failed after that is news that is younger than the success.
    :param lane: the series of messages that it was one of. One that was under way when a server
        asked for a pause says nothing about when the pause may end.
    """

    message: datetime
    lane: datetime


class Noted(NamedTuple):
    """What a success has changed."""

    works: bool
    """Whether the connection counts as working now."""
    recovered: bool
    """Whether it had been given up on before."""


def note_success(
    connection: sa.Connection, connection_id: int, now: datetime, began: Began | None = None
) -> Noted:
    """Write that the connection works, and tell what that has changed.

    :param began: of a message that went beside others; ``None``: there is no younger news.
    """
    of_it = ConnectionHealth.connection_id == connection_id
    healed = (
        sa.update(ConnectionHealth)
        .where(of_it, ~_is_paused_for_a_limit(now))
        .values(
            breaker=BreakerState.CLOSED,
            failures=0,
            retry_at=None,
            failing_since=None,
            last_ok_at=now,
        )
    )
    if began is not None:
        healed = healed.where(~_has_younger_news(began, now))
    # A pause for a limit of ours comes without failures, and its end is no news.
    was_open = ConnectionHealth.failures >= retry.FAILURES_TO_OPEN
    if connection.execute(healed.where(was_open)).rowcount:
        return Noted(works=True, recovered=True)
    if connection.execute(healed).rowcount:
        return Noted(works=True, recovered=False)
    connection.execute(sa.update(ConnectionHealth).where(of_it).values(last_ok_at=now))
    return Noted(works=False, recovered=False)


def event_of(code: str, connection: Connection, now: datetime, **more: Any) -> Event:
    """Return an event about a stored connection.

    :param more: further fields of the event.
    """
    return Event(
        code=code,
        occurred_at=now,
        connection=connection.caption,
        host=connection.host,
        port=connection.port,
        ssl=connection.encryption is not Encryption.NONE,
        requires_auth=connection.use_auth,
        **more,
    )


def _is_paused_for_a_limit(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that a limit of ours is reached, which a success changes nothing about."""
    return sa.and_(
        ConnectionHealth.breaker == BreakerState.PAUSED,
        ConnectionHealth.failures == 0,
        ConnectionHealth.retry_at.is_not(None),
        ConnectionHealth.retry_at > now,
    )


def _has_younger_news(began: Began, now: datetime) -> sa.ColumnElement[bool]:
    failed_at = ConnectionHealth.last_failure_at
    pauses = sa.and_(
        ConnectionHealth.breaker == BreakerState.PAUSED,
        ConnectionHealth.retry_at.is_not(None),
        ConnectionHealth.retry_at > now,
        failed_at > began.lane,
    )
    # One that is yet to come is from before the clock was set back.
    happened = sa.and_(failed_at.is_not(None), failed_at <= now)
    return sa.and_(happened, sa.or_(failed_at > began.message, pauses))
