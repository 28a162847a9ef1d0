"""The breaker of a connection: whether it carries messages now, and when it is tried again.

Owns what delivery writes to a connection's health but a success, which
:mod:`flask_smtp_admin.connections` writes for tests, too. Must not know messages.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from .. import retry
from ..bulk import Bulk, Runs
from ..models import BreakerState, Connection, ConnectionHealth
from ..smtp import Reply, Stage, Verdict

MAX_WORDS = 2000


@dataclass(frozen=True)
class Trouble:
    """Why a connection could not be used."""

    stage: str
    reason: str
    advice: str = ""
    reply: Reply | None = None
    opens_breaker: bool = False
    quota: bool = False
    began_at: datetime | None = None
    """When the lane that met it began. Lanes that ran side by side count as one failure."""

    @classmethod
    def from_verdict(
        cls, verdict: Verdict, stage: Stage, reply: Reply | None, began_at: datetime
    ) -> Trouble:
        """Make it from what the protocol says."""
        return cls(
            stage=stage.value,
            reason=verdict.summary,
            advice=verdict.advice,
            reply=reply,
            opens_breaker=verdict.opens_breaker,
            quota=verdict.quota,
            began_at=began_at,
        )


def ready(connection: sa.Connection, now: datetime) -> list[int]:
    """Return the numbers of the connections that may be used now, in their order."""
    rows = connection.execute(
        sa.select(Connection.id)
        .outerjoin(ConnectionHealth, ConnectionHealth.connection_id == Connection.id)
        .where(
            Connection.enabled,
            sa.or_(ConnectionHealth.retry_at.is_(None), ConnectionHealth.retry_at <= now),
        )
        .order_by(Connection.position, Connection.id)
    )
    return list(rows.scalars())


def asks_for_pause(connection: Runs, connection_id: int, since: datetime, now: datetime) -> bool:
    """Tell whether the server has said after ``since`` that it takes no more for a while.

    Who is to find out whether that is over begins later, and goes on.
    """
    values = {"number": connection_id, "since": since, "now": now}
    return _PAUSE.first(connection, values) is not None


PAUSE = sa.select(ConnectionHealth.connection_id).where(
    ConnectionHealth.connection_id
    == sa.bindparam("number", type_=ConnectionHealth.connection_id.type),
    ConnectionHealth.breaker == sa.literal_column(f"'{BreakerState.PAUSED.value}'"),
    ConnectionHealth.last_failure_at
    > sa.bindparam("since", type_=ConnectionHealth.last_failure_at.type),
    # One that is yet to come is from before the clock was set back.
    ConnectionHealth.last_failure_at
    <= sa.bindparam("now", type_=ConnectionHealth.last_failure_at.type),
    ConnectionHealth.retry_at > sa.bindparam("now", type_=ConnectionHealth.retry_at.type),
)
"""Finds the connection ``number`` if its server asked ``since`` then for a pause that lasts ``now``."""
_PAUSE = Bulk(PAUSE)


def is_failing(connection: sa.Connection, connection_id: int) -> bool:
    """Tell whether the last use failed, so that one session should try it alone."""
    failures = connection.execute(
        sa.select(ConnectionHealth.failures).where(ConnectionHealth.connection_id == connection_id)
    ).scalar()
    return bool(failures)


def is_paused(connection: sa.Connection, connection_id: int) -> bool:
    """Tell whether the server has asked for a pause of which it is not known that it is over."""
    state = connection.execute(
        sa.select(ConnectionHealth.breaker).where(ConnectionHealth.connection_id == connection_id)
    ).scalar()
    return state is BreakerState.PAUSED


def take_probe(connection: sa.Connection, connection_id: int, now: datetime) -> datetime | None:
    """Reserve the one try that a failing connection gets; ``None``: another worker has it.

    The next try is put off as if this one had failed already, so that a worker that dies with it
    blocks nothing for long; returned is until when.
    """
    row = connection.execute(
        sa.select(ConnectionHealth.failures, ConnectionHealth.retry_at).where(
            ConnectionHealth.connection_id == connection_id
        )
    ).first()
    if row is None:
        return None
    failures, retry_at = row
    if retry_at is not None and retry_at > now:
        return None
    unchanged = (
        ConnectionHealth.retry_at.is_(None)
        if retry_at is None
        else ConnectionHealth.retry_at == retry_at
    )
    until = retry.next_probe(now, max(failures, 1))
    return until if _write(connection, connection_id, {"retry_at": until}, unchanged) else None


def put_back_probe(
    connection: sa.Connection, connection_id: int, reserved: datetime, again_at: datetime
) -> None:
    """Allow the try again that could not be made, unless a failure was noted meanwhile.

    :param reserved: what :func:`take_probe` returned.
    """
    connection.execute(
        sa.update(ConnectionHealth)
        .where(
            ConnectionHealth.connection_id == connection_id,
            ConnectionHealth.failures > 0,
            ConnectionHealth.breaker != BreakerState.PAUSED,
            ConnectionHealth.retry_at == reserved,
        )
        .values(retry_at=again_at)
        .execution_options(synchronize_session=False)
    )


def note_failure(
    connection: sa.Connection, connection_id: int, trouble: Trouble, now: datetime
) -> tuple[bool, datetime]:
    """Write a failure; return whether it opened the breaker, and when the next try is."""
    before, last_failure_at = _failures(connection, connection_id)
    is_known = (
        before > 0
        and trouble.began_at is not None
        and last_failure_at is not None
        and last_failure_at >= trouble.began_at
    )
    failures = before if is_known else before + 1
    if trouble.opens_breaker or trouble.quota:
        failures = max(failures, retry.FAILURES_TO_OPEN)
    is_open = failures >= retry.FAILURES_TO_OPEN
    if trouble.quota:
        state = BreakerState.PAUSED
    else:
        state = BreakerState.OPEN if is_open else BreakerState.CLOSED
    retry_at = retry.next_probe(now, failures)
    values = {
        "breaker": state,
        "failures": failures,
        "retry_at": retry_at,
        "last_failure_at": now,
        "last_stage": trouble.stage,
        "last_code": trouble.reply.code if trouble.reply else None,
        "last_reply": str(trouble.reply)[:MAX_WORDS] if trouble.reply else None,
        "last_reason": trouble.reason[:MAX_WORDS],
        "last_advice": trouble.advice[:MAX_WORDS],
    }
    if not before:
        values["failing_since"] = now
    _write(connection, connection_id, values)
    return is_open and before < retry.FAILURES_TO_OPEN, retry_at


def _failures(connection: sa.Connection, connection_id: int) -> tuple[int, datetime | None]:
    """Return the failures in a row and when the last was, holding the row to the end.

    Two workers that write at the same moment count as two, and only one of them is the fifth.
    """
    query = (
        sa.select(ConnectionHealth.failures, ConnectionHealth.last_failure_at)
        .where(ConnectionHealth.connection_id == connection_id)
        .with_for_update()
    )
    row = connection.execute(query).first()
    if row is None:
        _insert(connection, connection_id)
        row = connection.execute(query).first()
    return (row.failures, row.last_failure_at) if row is not None else (0, None)


def _insert(connection: sa.Connection, connection_id: int) -> None:
    """Make the health row, unless the connection has been deleted or another worker is first."""
    row = sa.select(
        Connection.id, sa.literal(BreakerState.CLOSED.value, sa.String), sa.literal(0)
    ).where(Connection.id == connection_id)
    with suppress(IntegrityError), connection.begin_nested():
        connection.execute(
            sa.insert(ConnectionHealth).from_select(
                ["connection_id", "breaker", "failures"], row, include_defaults=False
            )
        )


def _write(
    connection: sa.Connection,
    connection_id: int,
    values: dict[str, object],
    *where: sa.ColumnElement[bool],
) -> bool:
    return bool(
        connection.execute(
            sa.update(ConnectionHealth)
            .where(ConnectionHealth.connection_id == connection_id, *where)
            .values(**values)
        ).rowcount
    )
