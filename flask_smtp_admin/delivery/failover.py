"""Failover: the messages of a broken connection go to the one named as its fallback.

Owns moving them. Must not know why the connection broke. A message whose connection was chosen on
purpose stays where it is.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from ..core import Core
from ..models import BreakerState, Connection, ConnectionHealth, Message, is_queued


def hand_over(core: Core) -> int:
    """Move due messages from connections that are down to their fallbacks; return how many."""
    now = core.now()
    moved = 0
    with core.database.write() as connection:
        for broken_id, caption, fallback_id in connection.execute(_PAIRS).all():
            moved += connection.execute(
                sa.update(Message)
                .where(
                    is_queued(),
                    Message.connection_id == broken_id,
                    Message.pinned.is_(False),
                    Message.due_at <= now,
                )
                .values(connection_id=fallback_id, reason=_reason(caption, now))
                .execution_options(synchronize_session=False)
            ).rowcount
    return moved


def _reason(caption: str, now: datetime) -> str:
    return f"Handed over, because {caption} does not work ({now:%Y-%m-%d %H:%M} UTC)."


_Fallback = aliased(Connection)
_FallbackHealth = aliased(ConnectionHealth)

_PAIRS = (
    sa.select(Connection.id, Connection.caption, _Fallback.id)
    .join(ConnectionHealth, ConnectionHealth.connection_id == Connection.id)
    .join(_Fallback, _Fallback.id == Connection.fallback_id)
    .outerjoin(_FallbackHealth, _FallbackHealth.connection_id == _Fallback.id)
    .where(
        ConnectionHealth.breaker == BreakerState.OPEN,
        _Fallback.enabled,
        sa.or_(_FallbackHealth.breaker.is_(None), _FallbackHealth.breaker == BreakerState.CLOSED),
    )
)
"""Broken connections, with a fallback that works."""
