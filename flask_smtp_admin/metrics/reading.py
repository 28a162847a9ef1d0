"""Reading a snapshot from the database.

Owns the queries: each is bounded and led by an index, so that a snapshot costs the same on a
million rows. Must not know what counts as a problem.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_smtp_admin import connections
from flask_smtp_admin.core import Core
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.models import (
    BreakerState,
    Connection,
    ConnectionHealth,
    Message,
    Priority,
    Status,
    Worker,
    is_queued,
)
from flask_smtp_admin.models.worker import ALIVE_WITHIN
from flask_smtp_admin.wording import Count

from .records import ConnectionFacts, Snapshot, WorkerFacts

STUCK_AFTER = timedelta(minutes=1)
"""A worker that lives renews its leases, and takes over those of others as soon as they end: a
message whose lease ended longer ago than this has nobody."""
COUNT_LIMIT = 100_000
"""Beyond this number a count says "100,000+"."""


def read(core: Core, dispatch: str) -> Snapshot:
    """Read a snapshot, its problems not yet named.

    :raises OutboxUnavailable: the database cannot be reached.
    """
    with core.database.session() as session:
        # By which workers report themselves, whatever the time on this machine.
        now = core.database_time(session.connection())
        return Snapshot(taken_at=now, dispatch=dispatch, **_facts(session, core, now))


def _facts(session: Session, core: Core, now: datetime) -> dict[str, Any]:
    midnight = _midnight(now, core)
    queued = is_queued()
    stuck = (Message.status == Status.SENDING, Message.lease_until < now - STUCK_AFTER)
    facts = _connections(session, now, core.keys)
    last_seen, last_sweep = session.execute(
        sa.select(sa.func.max(Worker.seen_at), sa.func.max(Worker.swept_at))
    ).one()
    return {
        "due": _count(session, queued, Message.due_at <= now),
        "waiting": _count(session, queued, Message.due_at > now),
        "sending": _count(session, Message.status == Status.SENDING),
        "stuck": _count(session, *stuck),
        "held": _count(session, Message.status == Status.HELD),
        "failed": _count(session, Message.status == Status.FAILED),
        "sent_today": _ended(session, Status.SENT, midnight)
        + _ended(session, Status.PARTIAL, midnight),
        "failed_today": _ended(session, Status.FAILED, midnight),
        "unrouted": _count(session, *_due(None, now)),
        "unrouted_since": _oldest(session, _due(None, now)),
        "oldest_due_at": _oldest_due_at(session, now, stuck),
        "connections": tuple(facts),
        "workers": tuple(_workers(session, now)),
        "last_seen_at": last_seen,
        "last_sweep_at": last_sweep,
    }


def _midnight(now: datetime, core: Core) -> datetime:
    local = now.astimezone(core.config.zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(timezone.utc)


def _count(session: Session, *where: sa.ColumnElement[bool]) -> Count:
    rows = sa.select(Message.id).where(*where).limit(COUNT_LIMIT + 1).subquery()
    found = session.scalar(sa.select(sa.func.count()).select_from(rows)) or 0
    return Count(min(found, COUNT_LIMIT), found > COUNT_LIMIT)


def _oldest_due_at(
    session: Session, now: datetime, stuck: tuple[sa.ColumnElement[bool], ...]
) -> datetime | None:
    """Return since when the oldest message is due, whether it waits or is stuck."""
    waiting = session.scalar(
        sa.select(Message.due_at)
        .where(is_queued(), Message.due_at <= now)
        .order_by(Message.due_at)
        .limit(1)
    )
    # There are no more than the workers that went away had in hand.
    gone = session.scalar(sa.select(sa.func.min(Message.due_at)).where(*stuck))
    return min((at for at in (waiting, gone) if at is not None), default=None)


def _ended(session: Session, status: Status, since: datetime) -> Count:
    return _count(session, Message.status == status, Message.finished_at >= since)


def _workers(session: Session, now: datetime) -> list[WorkerFacts]:
    rows = session.scalars(
        sa.select(Worker)
        .where(Worker.seen_at >= now - ALIVE_WITHIN, Worker.stopped_at.is_(None))
        .order_by(Worker.started_at)
        .limit(100)
    )
    names = WorkerFacts.__dataclass_fields__
    return [WorkerFacts(**{name: getattr(row, name) for name in names}) for row in rows]


# ---------------------------------------------------------------- connections


def _connections(session: Session, now: datetime, keys: KeyRing) -> list[ConnectionFacts]:
    rows = session.scalars(sa.select(Connection).order_by(Connection.position, Connection.id))
    return [_connection_facts(session, row, now, keys) for row in rows.unique().all()]


def _connection_facts(
    session: Session, row: Connection, now: datetime, keys: KeyRing
) -> ConnectionFacts:
    due = _due(row.id, now)
    health: Any = row.health
    trouble = connections.password_trouble(row, keys) if row.enabled else ""
    return ConnectionFacts(
        id=row.id,
        caption=row.caption,
        host=row.host,
        port=row.port,
        state="failing" if trouble else connection_state(row, now),
        failing_since=health and health.failing_since,
        retry_at=health and health.retry_at,
        last_ok_at=health and health.last_ok_at,
        reason=trouble or (health and health.last_reason) or "",
        advice=(health and health.last_advice) or "",
        due=_count(session, *due),
        oldest_due_at=_oldest(session, due),
    )


def _due(connection_id: int | None, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions of the due messages of a connection, or of those without one."""
    # Naming the priorities lets the index of the claim be used down to the due time.
    return (
        is_queued(),
        Message.connection_id == connection_id,
        Message.priority.in_(sorted(Priority.BY_NAME.values())),
        Message.due_at <= now,
    )


def _oldest(session: Session, where: tuple[sa.ColumnElement[bool], ...]) -> datetime | None:
    return session.scalar(sa.select(sa.func.min(Message.due_at)).where(*where))


def connection_state(row: Connection, now: datetime) -> str:
    """Return how a connection fares: ``ok``, ``untried``, ``unsteady``, ``failing`` and so on."""
    health: ConnectionHealth | None = row.health
    if not row.enabled:
        return "off"
    if health is None:
        return "untried"
    if health.breaker is BreakerState.PAUSED and health.retry_at and health.retry_at > now:
        return "paused"
    if health.breaker is BreakerState.OPEN:
        return "failing"
    if health.failures:
        return "unsteady"
    return "ok" if health.last_ok_at else "untried"
