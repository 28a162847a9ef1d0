"""Claiming due messages, and taking back those whose worker is gone.

Owns the lease: who may send a message, and until when. Must not know SMTP.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from ..bulk import Bulk, Runs
from ..models import (
    Flight,
    Message,
    MessageBody,
    Priority,
    Recipient,
    RecipientStatus,
    Status,
    is_queued,
)
from ..models.transition import move, take
from ..outbox import read_body

BULK_BODY_BYTES = 64 * 1024
"""Bodies up to this size are read with the claim, larger ones when their turn has come."""


class ClaimedRecipient(NamedTuple):
    """A recipient that is still to be offered."""

    id: int
    address: str


RecipientRow: TypeAlias = Sequence[Any]
"""Number, address and state of a recipient."""


@dataclass(slots=True, eq=False)
class Claimed:
    """A message that this worker may send while its lease lasts. Nobody changes it."""

    id: int
    lease_token: str
    message_id: str
    sender: str
    subject: str
    subject_key: str
    smtputf8: bool
    eight_bit: bool
    sensitive: bool
    at_most_once: bool
    attempts_count: int
    crash_count: int
    max_attempts: int | None
    priority: int
    size: int
    body: bytes | None = field(repr=False)
    recipients: tuple[ClaimedRecipient, ...]
    sent_before: int
    """How many recipients accepted it in earlier attempts."""
    failed_before: int

    def content(self, connection: sa.Connection) -> bytes:
        """Return the frozen bytes, read now if they did not come with the claim."""
        return self.body if self.body is not None else read_body(connection, self.id)


def claim(
    connection: Runs,
    connection_id: int,
    *,
    limit: int,
    token: str,
    now: datetime,
    lease_until: datetime,
) -> list[Claimed]:
    """Take up to ``limit`` due messages of a connection: highest priority first, then oldest.

    :param lease_until: by the clock of the database, so that workers on other machines agree.

    Must run in a write transaction. Rows that another worker is just claiming are skipped where
    the database can (PostgreSQL, MariaDB from 10.6, MySQL from 8.0); on SQLite there is one writer.
    """
    numbers = _due_numbers(connection, connection_id, limit, now)
    if not numbers:
        return []
    take(connection, numbers, token, lease_until)
    return _load(connection, numbers, token)


def due(
    connection_id: int | sa.BindParameter[int], now: datetime | sa.BindParameter[datetime]
) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions under which a message of a connection can be claimed.

    Who asks whether there is work and who takes it must ask for the same: otherwise a worker
    would start lanes that find nothing, again and again.
    """
    return (
        is_queued(),
        Message.connection_id == connection_id,
        Message.due_at <= now,
        sa.or_(Message.expires_at.is_(None), Message.expires_at > now),
    )


def due_count(connection: sa.Connection, connection_id: int, now: datetime, enough: int) -> int:
    """Count the due messages of a connection, up to ``enough``."""
    # Naming the priorities lets the index be used down to the due time.
    named = Message.priority.in_(sorted(Priority.BY_NAME.values()))
    rows = sa.select(Message.id).where(*due(connection_id, now), named).limit(enough).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


_DUE = Bulk(
    sa.select(Message.id)
    .where(
        *due(
            sa.bindparam("connection", type_=Message.connection_id.type),
            sa.bindparam("now", type_=Message.due_at.type),
        ),
        Message.priority == sa.bindparam("priority", type_=Message.priority.type),
    )
    .order_by(Message.due_at, Message.id)
    .limit(sa.bindparam("limit", type_=sa.Integer()))
    # SQLAlchemy writes one on SQLite in any case, and then as a parameter.
    .offset(sa.literal_column("0"))
    .with_for_update(skip_locked=True)
)


def _due_numbers(connection: Runs, connection_id: int, limit: int, now: datetime) -> list[int]:
    """Return the numbers of due messages.

    One query a priority: with all in one, the index would be walked through every message that
    waits for a retry.
    """
    numbers: list[int] = []
    values = {"connection": connection_id, "now": now}
    for priority in sorted(Priority.BY_NAME.values()):
        if len(numbers) == limit:
            break
        wanted = {"priority": priority, "limit": limit - len(numbers)}
        numbers += [row[0] for row in _DUE.every(connection, {**values, **wanted})]
    return numbers


def _load(connection: Runs, numbers: list[int], token: str) -> list[Claimed]:
    recipients: dict[int, list[RecipientRow]] = {}
    for message, *recipient in _RECIPIENTS.every(connection, {"token": token}):
        recipients.setdefault(message, []).append(recipient)
    rows = _MESSAGES.every(connection, {"token": token, "bulk": BULK_BODY_BYTES})
    loaded = {row[0]: claimed(row, token, recipients.get(row[0], ())) for row in rows}
    return [loaded[number] for number in numbers if number in loaded]


def claimed(row: Sequence[Any], token: str, recipients: Iterable[RecipientRow]) -> Claimed:
    """Make a claimed message of the values of :data:`COLUMNS` and its body, and its recipients."""
    number, message_id, sender, subject, key, utf8, eight_bit, *row = row
    sensitive, at_most_once, attempts, crashes, max_attempts, priority, size, body = row
    pending = []
    settled = {_SENT: 0, _FAILED: 0}
    for recipient, address, status in recipients:
        if status == _PENDING:
            pending.append(ClaimedRecipient(recipient, address))
        else:
            settled[status] += 1
    return Claimed(
        id=number,
        lease_token=token,
        message_id=message_id,
        sender=sender,
        subject=subject,
        subject_key=key,
        smtputf8=bool(utf8),
        eight_bit=bool(eight_bit),
        sensitive=bool(sensitive),
        at_most_once=bool(at_most_once),
        attempts_count=attempts,
        crash_count=crashes,
        max_attempts=max_attempts,
        priority=priority,
        size=size,
        body=body,
        recipients=tuple(pending),
        sent_before=settled[_SENT],
        failed_before=settled[_FAILED],
    )


_PENDING, _SENT, _FAILED = (
    status.value
    for status in (RecipientStatus.PENDING, RecipientStatus.SENT, RecipientStatus.FAILED)
)
COLUMNS = (
    Message.id,
    Message.message_id,
    Message.sender,
    Message.subject,
    Message.subject_key,
    Message.smtputf8,
    Message.eight_bit,
    Message.sensitive,
    Message.at_most_once,
    Message.attempts_count,
    Message.crash_count,
    Message.max_attempts,
    Message.priority,
    Message.size,
)
"""What is read of a message that is claimed."""
_TOKEN = sa.bindparam("token", type_=Message.lease_token.type)
_MESSAGES = Bulk(
    sa.select(*COLUMNS, MessageBody.content)
    .outerjoin(
        MessageBody,
        sa.and_(
            MessageBody.message_id == Message.id,
            MessageBody.part == sa.literal_column("0"),
            Message.size <= sa.bindparam("bulk", type_=Message.size.type),
        ),
    )
    .where(Message.lease_token == _TOKEN)
)
_RECIPIENTS = Bulk(
    sa.select(Recipient.message_id, Recipient.id, Recipient.address, Recipient.status)
    .join(Message, Message.id == Recipient.message_id)
    .where(Message.lease_token == _TOKEN)
    .order_by(Recipient.id)
)


def under(connection: sa.Connection, token: str) -> set[int]:
    """Return which messages are under the lease with this token, keeping them from others."""
    mine = sa.select(Message.id).where(
        Message.lease_token == token, Message.status == Status.SENDING
    )
    return set(connection.execute(mine.order_by(Message.id).with_for_update()).scalars())


def renew(connection: sa.Connection, token: str, numbers: Collection[int], until: datetime) -> bool:
    """Let the lease with this token last longer; ``False`` when no message is under it.

    :param numbers: of the messages that somebody deals with; the others are left to the sweep.
    """
    return bool(
        connection.execute(
            sa.update(Message)
            .where(
                Message.lease_token == token,
                Message.id.in_(numbers),
                Message.status == Status.SENDING,
            )
            .values(lease_until=until)
            .execution_options(synchronize_session=False)
        ).rowcount
    )


def release(connection: sa.Connection, token: str, numbers: Collection[int] | None = None) -> int:
    """Put the messages of a lease that were not offered to a server back into the queue.

    :param numbers: of the messages, if not all of them.

    One whose outcome could not be stored stays: whether the server has it is not known, so it is
    the sweep that decides about it.
    """
    return move(
        connection,
        Status.QUEUED,
        Message.lease_token == token,
        *(() if numbers is None else (Message.id.in_(numbers),)),
        ~in_flight(),
        from_={Status.SENDING},
        values={"lease_token": None, "lease_until": None},
    )


def disown(connection: sa.Connection, message: Claimed) -> None:
    """Let the lease end for one message, while it is renewed for the others of the same claim."""
    connection.execute(
        sa.update(Message)
        .where(
            Message.id == message.id,
            Message.lease_token == message.lease_token,
            Message.status == Status.SENDING,
        )
        .values(lease_token=str(uuid.uuid4()))
        .execution_options(synchronize_session=False)
    )


def in_flight() -> sa.ColumnElement[bool]:
    """Return the condition that the message is marked: an attempt has begun and has no outcome."""
    return sa.exists().where(Flight.message_id == Message.id)


def hold_back(connection: sa.Connection, message: Claimed, reason: str) -> bool:
    """Hold a message that cannot be sent as it is, for a person to look at.

    It is not offered, so a mark that it has is left from before and means nothing.
    """
    held = move(
        connection,
        Status.HELD,
        Message.id == message.id,
        Message.lease_token == message.lease_token,
        from_={Status.SENDING},
        values={"lease_token": None, "lease_until": None, "reason": reason},
    )
    if held:
        connection.execute(sa.delete(Flight).where(Flight.message_id == message.id))
    return bool(held)
