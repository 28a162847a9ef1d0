"""Failover: the messages of a broken connection go over another one.

Owns moving them. Must not know why the connection broke. A message whose connection was chosen on
purpose stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from .. import routing
from ..core import Core
from ..models import BreakerState, Connection, ConnectionHealth, Message, is_queued

SENDERS_AT_ONCE = 100
"""Senders that are looked at in one sweep; the next one goes on with the others."""
TO_TRY_WITH = 1
"""Messages for a connection that was broken itself, until it is known whether it works again: two that
take over for each other would hand a long queue back and forth otherwise."""


def hand_over(core: Core) -> int:
    """Move due messages from connections that are broken to those that take over; return how many.

    That is the one named as the fallback. Where none is named, or it does not work either, or is being
    tried, it is the next that carries the same senders, unless the broken connection's mail is to wait.
    """
    now = core.now()
    moved = 0
    with core.database.write() as connection:
        for broken in connection.execute(_BROKEN, {"now": now}).all():
            if broken.fallback_id is not None:
                moved += _move(connection, broken, broken.fallback_id, now)
            # What is left then, as that one is being tried itself, need not wait for it.
            if broken.hands_over:
                moved += _move_each_sender(connection, broken, now)
    return moved


def _move_each_sender(connection: sa.Connection, broken: Any, now: datetime) -> int:
    """Move the messages of each sender to the next connection that carries it."""
    movable = (*_due(broken.id, now), Message.pinned.is_(False))
    due = sa.select(Message.sender).where(*movable).distinct().limit(SENDERS_AT_ONCE)
    moved = 0
    for sender in connection.execute(due).scalars().all():
        other = routing.choose_instead(connection, sender, broken.id, now)
        if other is not None:
            moved += _move(connection, broken, other, now, Message.sender == sender)
    return moved


def _move(
    connection: sa.Connection,
    broken: Any,
    to: int,
    now: datetime,
    *where: sa.ColumnElement[bool],
) -> int:
    reason = f"Handed over, because {broken.caption} does not work ({now:%Y-%m-%d %H:%M} UTC)."
    chosen = (*_due(broken.id, now), Message.pinned.is_(False), *where)
    if _is_to_be_tried(connection, to):
        chosen = (*chosen, Message.id.in_(_to_try_with(connection, to, now, chosen)))
    return connection.execute(
        sa.update(Message)
        .where(*chosen)
        .values(connection_id=to, reason=reason, detour=reason)
        .execution_options(synchronize_session=False)
    ).rowcount


def _is_to_be_tried(connection: sa.Connection, number: int) -> bool:
    """Tell whether it is not known yet that a connection works again."""
    found = sa.select(ConnectionHealth.connection_id).where(
        ConnectionHealth.connection_id == number, ~routing.works(ConnectionHealth)
    )
    return connection.execute(found).first() is not None


def _to_try_with(
    connection: sa.Connection,
    to: int,
    now: datetime,
    chosen: tuple[sa.ColumnElement[bool], ...],
) -> Sequence[int]:
    """Return the messages, of those chosen, with which it is found out whether a connection works.

    None, where it has some itself.
    """
    has_own = connection.execute(sa.select(Message.id).where(*_due(to, now)).limit(1)).first()
    if has_own is not None:
        return []
    first = sa.select(Message.id).where(*chosen).order_by(Message.priority, Message.due_at)
    return connection.execute(first.limit(TO_TRY_WITH)).scalars().all()


def _due(number: int, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (is_queued(), Message.connection_id == number, Message.due_at <= now)


_Fallback = aliased(Connection)
_FallbackHealth = aliased(ConnectionHealth)
_NOW = sa.bindparam("now", type_=ConnectionHealth.retry_at.type)

_BROKEN = (
    sa.select(
        Connection.id,
        Connection.caption,
        Connection.hands_over,
        sa.case((routing.may_work(_FallbackHealth, _NOW), _Fallback.id)).label("fallback_id"),
    )
    .join(ConnectionHealth, ConnectionHealth.connection_id == Connection.id)
    .outerjoin(
        _Fallback, sa.and_(_Fallback.id == Connection.fallback_id, _Fallback.enabled.is_(True))
    )
    .outerjoin(_FallbackHealth, _FallbackHealth.connection_id == _Fallback.id)
    .where(ConnectionHealth.breaker == BreakerState.OPEN, ConnectionHealth.retry_at > _NOW)
)
"""Broken connections, with the fallback that is named for them if it may work.

One whose next try is due keeps its mail: without any it could not be tried, and would be broken for
ever where every sweep is followed by a delivery that ends."""
