"""Every write that the host or a person makes to a message.

Owns enqueueing and the acts of an administrator: retry, hold, release, delete, move. Must not know
Flask, nor how messages are delivered; what a worker writes is in :mod:`flask_smtp_admin.delivery`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from . import routing
from .bulk import Bulk
from .core import Core
from .database import explained
from .errors import MessageError
from .models import (
    ConnectionHealth,
    Message,
    MessageBody,
    Priority,
    Recipient,
    RecipientStatus,
    Status,
)
from .models.message import BODY_PART_BYTES, SUBJECT_LENGTH
from .models.transition import move
from .signals import Event
from .smtp import FrozenMessage
from .smtp.text import has_control

SUBJECT_KEY_LENGTH = 100
FROM_HEADER_LENGTH = 500
KEY_LENGTH = 200
FURTHEST = timedelta(days=36_525)
"""How far ahead a message may be due or expire: a hundred years."""


@dataclass(frozen=True)
class SendOptions:
    """How a message is to be sent; see :meth:`flask_smtp_admin.SMTPAdmin.send` for the meanings.

    :raises MessageError: a value is impossible, or two exclude each other.
    """

    connection: str | int | None = None
    priority: str = "normal"
    delay: timedelta | float | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    automated: bool | None = None
    sensitive: bool = False
    at_most_once: bool = False
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if self.priority not in Priority.BY_NAME:
            known = ", ".join(repr(name) for name in Priority.BY_NAME)
            raise MessageError(f"priority is {self.priority!r}; it must be one of {known}.")
        if self.delay is not None and self.send_at is not None:
            raise MessageError("Give either delay or send_at, not both.")
        for name in ("send_at", "expires_at"):
            _check_time(name, getattr(self, name))
        if self.idempotency_key is not None:
            _check_key(self.idempotency_key)
        if self._delay() < timedelta():
            raise MessageError(f"delay is {self.delay!r}; it must not be negative.")

    def _delay(self) -> timedelta:
        delay = self.delay or 0
        try:
            return delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
        except (TypeError, ValueError, OverflowError):
            raise MessageError(
                f"delay is {delay!r}; it must be a timedelta, or a number of seconds."
            ) from None

    def due_at(self, now: datetime, automated: bool, automated_delay: int) -> datetime:
        """Return when the message leaves at the earliest.

        :raises MessageError: it would expire before, or a time is too far away.
        """
        for name in ("send_at", "expires_at"):
            _check_reach(name, getattr(self, name), now)
        if self.send_at is not None:
            due_at = max(self.send_at, now)
        elif self.delay is not None:
            due_at = _later(now, self._delay())
            _check_reach("delay", due_at, now)
        else:
            due_at = now + timedelta(seconds=automated_delay if automated else 0)
        if self.expires_at is not None and self.expires_at <= due_at:
            raise MessageError(
                f"The message would expire at {self.expires_at.isoformat()}, before it is due at "
                f"{due_at.isoformat()}."
            )
        return due_at


def _check_time(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, datetime):
        raise MessageError(f"{name} is {value!r}; it must be an aware datetime.")
    if value.utcoffset() is None:
        raise MessageError(
            f"{name} has no time zone; pass an aware datetime, for instance "
            "datetime.now(timezone.utc)."
        )


def _check_reach(name: str, value: datetime | None, now: datetime) -> None:
    """Refuse a time of another age: it is a mistake, and calendars end with the year 9999."""
    if value is not None and value > now + FURTHEST:
        hint = " Leave it out if the message is not to expire." if name == "expires_at" else ""
        raise MessageError(
            f"{name} leads to {value.isoformat()}, which is more than a hundred years away; give an "
            f"earlier time.{hint}"
        )


def _check_key(key: object) -> None:
    # Databases differ on white space at the end of a text, and on control characters anywhere.
    if not isinstance(key, str) or not 1 <= len(key) <= KEY_LENGTH:
        raise MessageError(f"idempotency_key must be a text of 1 to {KEY_LENGTH} characters.")
    if key != key.strip() or has_control(key):
        raise MessageError(
            "idempotency_key must not begin or end with white space, nor hold a control character."
        )


def _later(now: datetime, delay: timedelta) -> datetime:
    try:
        return now + delay
    except OverflowError:
        raise MessageError(f"delay is {delay!r}, which no calendar reaches.") from None


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
            stored = [_store(joined, one, options, savepoint=True) for one in new]
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
            return [_store(connection, one, options, savepoint=False) for one in new]
    except IntegrityError:
        with core.database.read() as connection:
            known = _by_idempotency_key(connection, options.idempotency_key)
        if known is None:
            raise
        return [known]  # only a single one has a key


def _store(
    connection: sa.Connection, new: _New, options: SendOptions, *, savepoint: bool
) -> OutboxMessage:
    """Insert the rows, or find the message that had the idempotency key first.

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
            number = _insert(connection, message, values)
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


def _insert(connection: sa.Connection, message: FrozenMessage, values: dict[str, Any]) -> int:
    number = _INSERT_MESSAGE.insert(connection, values)
    _INSERT_RECIPIENT.run(
        connection,
        [
            {
                "message_id": number,
                "address": recipient.address,
                "address_key": recipient.address.lower(),
                "kind": recipient.kind,
                "status": RecipientStatus.PENDING,
            }
            for recipient in message.recipients
        ],
    )
    # One statement a part: together they may be more than MariaDB takes in one packet.
    for part, start in enumerate(range(0, message.size, BODY_PART_BYTES)):
        content = message.content[start : start + BODY_PART_BYTES]
        row = {"message_id": number, "part": part, "content": content}
        _INSERT_BODY.run(connection, [row])
    return number


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


def retry(core: Core, *where: sa.ColumnElement[bool]) -> int:
    """Make messages due now: waiting ones, held ones, and failed ones with a new set of tries.

    A failed message whose body is gone, as a sensitive one's is, stays failed.

    :param where: conditions on :class:`~flask_smtp_admin.models.Message`.
    :returns: how many messages changed.
    :raises OutboxUnavailable: the database cannot be reached; nothing was changed.
    """
    now, token = core.now(), _token()
    renewed = {"due_at": now, "lease_token": token, "crash_count": 0}
    has_body = sa.exists().where(MessageBody.message_id == Message.id)
    with core.database.write() as connection:
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
    core.ring()
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
    with core.database.write() as connection:
        return move(
            connection, Status.HELD, *where, from_={Status.QUEUED}, values={"reason": reason}
        )


def release(core: Core, *where: sa.ColumnElement[bool]) -> int:
    """Put held messages back into the queue, with the due time they had. As :func:`retry`."""
    with core.database.write() as connection:
        changed = move(
            connection,
            Status.QUEUED,
            *where,
            from_={Status.HELD},
            values={"reason": None, "crash_count": 0},
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
    with core.database.write() as connection:
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


def move_to(core: Core, connection_id: int, *where: sa.ColumnElement[bool]) -> int:
    """Have waiting messages carried by another connection.

    :raises UnknownConnection: there is no connection with this number.
    """
    with core.database.write() as connection:
        routing.find(connection, connection_id)
        changed = connection.execute(
            sa.update(Message)
            .where(Message.status.in_((Status.QUEUED, Status.HELD)), *where)
            .values(connection_id=connection_id, pinned=True)
            .execution_options(synchronize_session=False)
        ).rowcount
    core.ring()
    return changed


def _token() -> str:
    """Mark the rows of one act, so that its later statements find exactly those."""
    return str(uuid.uuid4())
