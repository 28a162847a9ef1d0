"""Closing a connection's breaker, whoever found that the connection works.

Owns what a success writes to a connection's health; a worker's message and a person's test count
the same. Must not know how a failure counts: that is for delivery, which meets failures.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from flask_smtp_admin import retry
from flask_smtp_admin.models import BreakerState, ConnectionHealth


def note_success(connection: sa.Connection, connection_id: int, now: datetime) -> bool:
    """Write that the connection works, and tell whether it had been given up on before."""
    healed = (
        sa.update(ConnectionHealth)
        .where(ConnectionHealth.connection_id == connection_id)
        .values(
            breaker=BreakerState.CLOSED,
            failures=0,
            retry_at=None,
            failing_since=None,
            last_ok_at=now,
        )
    )
    # A pause for a limit of ours comes without failures, and its end is no news.
    was_open = ConnectionHealth.failures >= retry.FAILURES_TO_OPEN
    if connection.execute(healed.where(was_open)).rowcount:
        return True
    connection.execute(healed)
    return False
