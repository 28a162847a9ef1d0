"""What a person does to messages: retry, hold, release, delete, move.

Owns these acts, each on all messages that meet conditions and in one transaction. Must not know
Flask, nor who may do what.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from .. import routing
from ..core import Core
from ..database import in_the_end
from ..models import ConnectionHealth, Message, MessageBody, Recipient, RecipientStatus, Status
from ..models.transition import move


def retry(core: Core, *where: sa.ColumnElement[bool]) -> int:
    """Make messages due now: waiting ones, held ones, and failed ones with a new set of tries.

    A failed message whose body is gone, as a sensitive one's is, stays failed.

    :param where: conditions on :class:`~flask_smtp_admin.models.Message`.
    :returns: how many messages changed.
    :raises OutboxUnavailable: the database cannot be reached; nothing was changed.
    """
    changed = _changed(core, partial(_retry, now=core.now(), token=_token(), where=where))
    core.ring()
    return changed


def _retry(
    connection: sa.Connection,
    *,
    now: datetime,
    token: str,
    where: Sequence[sa.ColumnElement[bool]],
) -> int:
    renewed = {"due_at": now, "lease_token": token, "crash_count": 0}
    has_body = sa.exists().where(MessageBody.message_id == Message.id)
    waiting = _waiting_now(connection, now, token, where)
    released = {**renewed, "reason": None}
    held = move(connection, Status.QUEUED, *where, from_={Status.HELD}, values=released)
    failed = move(
        connection,
        Status.QUEUED,
        *where,
        has_body,
        from_={Status.FAILED, Status.PARTIAL},
        values={**renewed, "attempts_count": 0, "finished_at": None, "expires_at": None},
    )
    ours = sa.select(Message.id).where(Message.lease_token == token)
    connection.execute(
        sa.update(Recipient)
        .where(Recipient.message_id.in_(ours), Recipient.status == RecipientStatus.FAILED)
        .values(status=RecipientStatus.PENDING, finished_at=None)
    )
    routing.assign_waiting(connection)
    _try_connections_now(connection, token)
    return waiting + held + failed


def _waiting_now(
    connection: sa.Connection,
    now: datetime,
    token: str,
    where: Iterable[sa.ColumnElement[bool]],
) -> int:
    """Make queued messages due; their state stays, so this is no step of the state table."""
    return connection.execute(
        sa.update(Message)
        .where(Message.status == Status.QUEUED, *where)
        .values(due_at=now, lease_token=token)
        .execution_options(synchronize_session=False)
    ).rowcount


def _try_connections_now(connection: sa.Connection, token: str) -> None:
    """Let the connections of the messages of an act be tried before their next probe is due."""
    involved = sa.select(Message.connection_id).where(Message.lease_token == token)
    connection.execute(
        sa.update(ConnectionHealth)
        .where(ConnectionHealth.connection_id.in_(involved))
        .values(retry_at=None)
        .execution_options(synchronize_session=False)
    )


def hold(core: Core, *where: sa.ColumnElement[bool], reason: str = "Held by a person.") -> int:
    """Keep waiting messages back until they are released. Parameters as for :func:`retry`."""
    values = {"reason": reason}
    return _changed(
        core,
        lambda connection: move(
            connection, Status.HELD, *where, from_={Status.QUEUED}, values=values
        ),
    )


def release(core: Core, *where: sa.ColumnElement[bool]) -> int:
    """Put held messages back into the queue, with the due time they had. As :func:`retry`."""
    values = {"reason": None, "crash_count": 0}
    changed = _changed(
        core,
        lambda connection: move(
            connection, Status.QUEUED, *where, from_={Status.HELD}, values=values
        ),
    )
    core.ring()
    return changed


def delete(core: Core, *where: sa.ColumnElement[bool], by: str = "") -> int:
    """Delete messages that have not been sent: they are never sent, and their bodies go.

    The row stays, so that the page of the message can say what became of it.

    :param by: who does it, for the reason that the page shows.
    """
    now, token = core.now(), _token()
    reason = f"Deleted by {by}." if by else "Deleted by a person."

    def act(connection: sa.Connection) -> int:
        changed = move(
            connection,
            Status.DELETED,
            *where,
            from_={Status.QUEUED, Status.HELD, Status.FAILED},
            values={"reason": reason, "finished_at": now, "lease_token": token},
        )
        # Only now that the rows are ours: a worker might have claimed one a moment ago.
        ours = sa.select(Message.id).where(Message.lease_token == token)
        connection.execute(sa.delete(MessageBody).where(MessageBody.message_id.in_(ours)))
        return changed

    return _changed(core, act)


def move_to(core: Core, connection_id: int, *where: sa.ColumnElement[bool]) -> int:
    """Have waiting messages carried by another connection.

    :raises UnknownConnection: there is no connection with this number.
    """

    def act(connection: sa.Connection) -> int:
        routing.find(connection, connection_id)
        return connection.execute(
            sa.update(Message)
            .where(Message.status.in_((Status.QUEUED, Status.HELD)), *where)
            .values(connection_id=connection_id, pinned=True)
            .execution_options(synchronize_session=False)
        ).rowcount

    changed = _changed(core, act)
    core.ring()
    return changed


def _changed(core: Core, act: Callable[[sa.Connection], int]) -> int:
    """Run an act in one transaction; again, when the database ended it to let workers through."""

    def once() -> int:
        with core.database.write() as connection:
            return act(connection)

    return in_the_end(once)


def _token() -> str:
    """Mark the rows of one act, so that its later statements find exactly those."""
    return str(uuid.uuid4())
