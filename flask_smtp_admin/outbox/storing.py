"""Storing messages: in the caller's transaction, or at once.

Owns the rows that a new message has, and what is told after they were committed. Must not know
Flask, nor how messages are delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from .. import routing
from ..bulk import Bulk, Row
from ..core import Core
from ..database import explained
from ..models import Message, MessageBody, Priority, Recipient, RecipientStatus, Status
from ..models.message import BODY_PART_BYTES, SUBJECT_LENGTH
from ..signals import Event
from ..smtp import FrozenMessage
from .options import SendOptions

SUBJECT_KEY_LENGTH = 100
FROM_HEADER_LENGTH = 500
BODIES_A_STATEMENT = 10
"""Parts of bodies, each of up to :data:`~flask_smtp_admin.models.message.BODY_PART_BYTES`."""


@dataclass(frozen=True)
class OutboxMessage:
    """What ``send`` returns: the message as it was stored.

    ``duplicate`` tells that the idempotency key was known, and that this is the first message.
    """

    id: int
    message_id: str
    status: str
    due_at: datetime
    duplicate: bool = False


def enqueue(core: Core, message: FrozenMessage, options: SendOptions) -> OutboxMessage:
    """Store a message: in the caller's transaction if that has writes, otherwise at once.

    :raises MessageError: the options are impossible together.
    :raises UnknownConnection: ``options.connection`` names none.
    :raises OutboxUnavailable: the database cannot store it; nothing was stored.

    While a test of the host captures, the message is collected and has the number 0.
    """
    return enqueue_many(core, [message], options)[0]


def enqueue_many(
    core: Core, messages: Sequence[FrozenMessage], options: SendOptions
) -> list[OutboxMessage]:
    """Store messages in one transaction, as :func:`enqueue` does one; all of them or none.

    :raises MessageError: the options are impossible together.
    :raises UnknownConnection: ``options.connection`` names none.
    :raises OutboxUnavailable: the database cannot store them; nothing was stored.
    """
    new = [_New(message, _row(core, message, options)) for message in messages]
    if core.trial.outboxes:
        core.trial.outboxes[-1].extend(messages)
        return [
            OutboxMessage(0, one.message.message_id, Status.QUEUED.value, one.values["due_at"])
            for one in new
        ]
    joined = core.database.joined()
    if joined is not None:
        with explained():
            stored = _store_all(joined, new, options, savepoint=True)
        later = core.after_commit
    else:
        stored = _store_at_once(core, new, options)
        later = _now
    events = [
        _queued_event(its, one) for its, one in zip(stored, new, strict=True) if not its.duplicate
    ]
    if events:
        later(lambda: _announce(core, events))
    return stored


@dataclass(frozen=True)
class _New:
    """A message that is to be stored, and the columns of its row."""

    message: FrozenMessage
    values: dict[str, Any]


def _now(act: Callable[[], None]) -> None:
    act()


def _announce(core: Core, events: Iterable[Event]) -> None:
    for event in events:
        core.publish(event)
    core.ring()


def _store_at_once(core: Core, new: Iterable[_New], options: SendOptions) -> list[OutboxMessage]:
    try:
        with core.database.write() as connection:
            return _store_all(connection, new, options, savepoint=False)
    except IntegrityError:
        with core.database.read() as connection:
            known = _by_idempotency_key(connection, options.idempotency_key)
        if known is None:
            raise
        return [known]  # only a single one has a key


def _store_all(
    connection: sa.Connection, new: Iterable[_New], options: SendOptions, *, savepoint: bool
) -> list[OutboxMessage]:
    """Insert messages, then their recipients and bodies in a statement each."""
    stored: list[OutboxMessage] = []
    recipients: list[Row] = []
    bodies: list[Row] = []
    for one in new:
        its = _store(connection, one, options, savepoint=savepoint)
        stored.append(its)
        if not its.duplicate:
            recipients += _recipients(its.id, one.message)
            bodies += _bodies(its.id, one.message)
    _INSERT_RECIPIENT.run(connection, recipients)
    # A few at a time: all together they may be more than MariaDB takes in one packet.
    for start in range(0, len(bodies), BODIES_A_STATEMENT):
        _INSERT_BODY.run(connection, bodies[start : start + BODIES_A_STATEMENT])
    return stored


def _store(
    connection: sa.Connection, new: _New, options: SendOptions, *, savepoint: bool
) -> OutboxMessage:
    """Insert the row of a message, or find the message that had the idempotency key first.

    :param savepoint: guard the caller's transaction against the race of two equal keys: on
        PostgreSQL a failed statement would spoil all of it.
    """
    message, values = new.message, new.values
    known = _by_idempotency_key(connection, options.idempotency_key)
    if known is not None:
        return known
    if options.connection is not None:
        values["connection_id"] = routing.find(connection, options.connection)
    else:
        values["connection_id"] = routing.choose(connection, message.sender)
    joined = savepoint and options.idempotency_key is not None
    # On SQLite a failed statement spoils nothing, and a savepoint would do harm: Python's driver
    # knows of no transaction yet when it is the first write, so that releasing it would commit.
    guard = joined and connection.dialect.name != "sqlite"
    try:
        with connection.begin_nested() if guard else nullcontext():
            number = _INSERT_MESSAGE.insert(connection, values)
    except IntegrityError:
        known = None
        if joined:
            known = _by_idempotency_key(connection, options.idempotency_key, newest=True)
        if known is None:
            raise
        return known
    return OutboxMessage(number, message.message_id, Status.QUEUED.value, values["due_at"])


def _row(core: Core, message: FrozenMessage, options: SendOptions) -> dict[str, Any]:
    now = core.now()
    automated = message.automated if options.automated is None else options.automated
    return {
        "automated": automated,
        "due_at": options.due_at(now, automated, core.config.automated_delay),
        "message_id": message.message_id,
        "idempotency_key": options.idempotency_key,
        "pinned": options.connection is not None,
        "sender": message.sender,
        "from_header": message.from_header[:FROM_HEADER_LENGTH],
        "subject": message.subject[:SUBJECT_LENGTH],
        "subject_key": subject_key(message.subject),
        "first_recipient": message.recipients[0].address.lower(),
        "recipient_count": len(message.recipients),
        "size": message.size,
        "smtputf8": message.smtputf8,
        "eight_bit": message.eight_bit,
        "sensitive": options.sensitive,
        "at_most_once": options.at_most_once,
        "priority": Priority.BY_NAME[options.priority],
        "status": Status.QUEUED,
        "expires_at": options.expires_at,
        "attempts_count": 0,
        "crash_count": 0,
        "created_at": now,
    }


def subject_key(subject: str) -> str:
    """Return what the search compares a subject with: its start, case-folded."""
    return subject.casefold()[:SUBJECT_KEY_LENGTH]


_COLUMNS = (
    *("message_id", "idempotency_key", "connection_id", "pinned", "sender", "from_header"),
    *("subject", "subject_key", "first_recipient", "recipient_count", "size", "smtputf8"),
    *("eight_bit", "automated", "sensitive", "at_most_once", "priority", "status", "due_at"),
    *("expires_at", "attempts_count", "crash_count", "created_at"),
)
_MESSAGE = sa.insert(Message).values({name: sa.bindparam(name) for name in _COLUMNS})
_INSERT_MESSAGE = Bulk(_MESSAGE, _MESSAGE.returning(Message.id))
_INSERT_RECIPIENT = Bulk(
    sa.insert(Recipient).values(
        {
            name: sa.bindparam(name)
            for name in ("message_id", "address", "address_key", "kind", "status")
        }
    )
)
_INSERT_BODY = Bulk(
    sa.insert(MessageBody).values(
        {name: sa.bindparam(name) for name in ("message_id", "part", "content")}
    )
)


def _recipients(number: int, message: FrozenMessage) -> list[Row]:
    return [
        {
            "message_id": number,
            "address": recipient.address,
            "address_key": recipient.address.lower(),
            "kind": recipient.kind,
            "status": RecipientStatus.PENDING,
        }
        for recipient in message.recipients
    ]


def _bodies(number: int, message: FrozenMessage) -> list[Row]:
    return [
        {
            "message_id": number,
            "part": part,
            "content": message.content[start : start + BODY_PART_BYTES],
        }
        for part, start in enumerate(range(0, message.size, BODY_PART_BYTES))
    ]


def _by_idempotency_key(
    connection: sa.Connection, key: str | None, *, newest: bool = False
) -> OutboxMessage | None:
    """Return the message that has the key.

    :param newest: look past the snapshot of the transaction, which on MariaDB does not show what
        others have committed since it began; a locking read does.
    """
    if key is None:
        return None
    query = sa.select(Message.id, Message.message_id, Message.status, Message.due_at).where(
        Message.idempotency_key == key
    )
    if newest:
        query = query.with_for_update(read=True)
    row = connection.execute(query).first()
    if row is None:
        return None
    return OutboxMessage(row.id, row.message_id, row.status.value, row.due_at, duplicate=True)


def _queued_event(stored: OutboxMessage, new: _New) -> Event:
    values = new.values
    return Event(
        code="message_queued",
        occurred_at=values["created_at"],
        message_id=stored.id,
        recipient=new.message.recipients[0].address,
        sender=values["sender"],
        subject=values["subject"],
        attempt=0,
        next_attempt_at=values["due_at"],
    )


def read_body(connection: sa.Connection, message_id: int) -> bytes:
    """Return the frozen bytes of a message; empty when they have been removed."""
    parts = connection.execute(
        sa.select(MessageBody.content)
        .where(MessageBody.message_id == message_id)
        .order_by(MessageBody.part)
    ).scalars()
    return b"".join(parts)
