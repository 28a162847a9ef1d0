"""Storing messages: in the caller's transaction, or at once.

Owns the rows that a new message has, and what is told after they were committed. Must not know
Flask, nor how messages are delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from .. import routing
from ..bulk import Runs
from ..core import Core
from ..database import explained, in_the_end
from ..errors import OutboxUnavailable
from ..models import Message, MessageBody, Status
from ..signals import Event
from ..smtp import FrozenMessage
from . import inserting, rows
from .options import SendOptions
from .rows import New
from .whole import KeyTaken, is_small


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
    now = core.now()
    new = [rows.new(core, message, options, now) for message in messages]
    if core.trial.outboxes:
        core.trial.outboxes[-1].extend(messages)
        return _outbox_messages([0] * len(new), new)
    joined = core.database.joined()
    if joined is not None:
        with explained(), _refused_if_deleted():
            stored = _store_in_callers(joined, new, options)
        later = core.after_commit
    else:
        stored = _store_at_once(core, new, options)
        later = _now
    told = [(its.id, one) for its, one in zip(stored, new, strict=True) if not its.duplicate]
    if told:
        later(lambda: _announce(core, told))
    return stored


def _outbox_messages(numbers: Iterable[int], new: Iterable[New]) -> list[OutboxMessage]:
    queued = Status.QUEUED.value
    return [
        OutboxMessage(number, one.message.message_id, queued, one.row["due_at"])
        for number, one in zip(numbers, new, strict=True)
    ]


def _now(act: Callable[[], None]) -> None:
    act()


def _announce(core: Core, stored: Iterable[tuple[int, New]]) -> None:
    if core.hears("message_queued"):
        for number, new in stored:
            core.publish(_queued_event(number, new))
    core.ring()


def _store_at_once(core: Core, new: Sequence[New], options: SendOptions) -> list[OutboxMessage]:
    """Store messages in a transaction of their own."""
    single = len(new) == 1 and is_small(new[0])

    def store() -> list[OutboxMessage]:
        with core.database.write_rows(single=single) as connection:
            _set_connection(connection, new, options)
            return _outbox_messages(inserting.insert(connection, new), new)

    try:
        return in_the_end(store)
    except (IntegrityError, KeyTaken):
        with core.database.read() as reading:
            known = _by_idempotency_key(reading, options.idempotency_key)
        if known is not None:
            return [known]  # only a single one has a key
    # The connection that was chosen was deleted meanwhile; now another one is, or none.
    for one in new:
        if not one.row["pinned"]:
            one.row["connection_id"] = None
    with _refused_if_deleted():
        return in_the_end(store)


@contextmanager
def _refused_if_deleted() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise OutboxUnavailable(
            "The database refuses the message, most probably as the connection that was to carry it was "
            f"deleted at the same moment. Nothing was stored: roll back and try again. ({error.orig})"
        ) from error


def _store_in_callers(
    connection: sa.Connection, new: Sequence[New], options: SendOptions
) -> list[OutboxMessage]:
    """Store messages in the transaction of the caller, which must survive a key that is taken."""
    _set_connection(connection, new, options)
    if options.idempotency_key is None:
        return _outbox_messages(inserting.insert(connection, new), new)
    known = _by_idempotency_key(connection, options.idempotency_key)
    if known is not None:
        return [known]
    # Of two equal keys at the same time one fails, which on PostgreSQL would spoil the transaction.
    # On SQLite it spoils nothing, and a savepoint would do harm: Python's driver knows of no
    # transaction yet when it is the first write, so that releasing it would commit.
    guard = connection.dialect.name != "sqlite"
    try:
        with connection.begin_nested() if guard else nullcontext():
            return _outbox_messages(inserting.insert(connection, new), new)
    except (IntegrityError, KeyTaken):
        known = _by_idempotency_key(connection, options.idempotency_key, newest=True)
        if known is None:
            raise
        return [known]


def _set_connection(connection: Runs, new: Iterable[New], options: SendOptions) -> None:
    if options.connection is not None:
        chosen = routing.find(connection, options.connection)
        for one in new:
            one.row["connection_id"] = chosen


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


def _queued_event(number: int, new: New) -> Event:
    row = new.row
    return Event(
        code="message_queued",
        occurred_at=row["created_at"],
        message_id=number,
        recipient=new.message.recipients[0].address,
        sender=row["sender"],
        subject=row["subject"],
        attempt=0,
        next_attempt_at=row["due_at"],
    )


def read_body(connection: sa.Connection, message_id: int) -> bytes:
    """Return the frozen bytes of a message; empty when they have been removed."""
    parts = connection.execute(
        sa.select(MessageBody.content)
        .where(MessageBody.message_id == message_id)
        .order_by(MessageBody.part)
    ).scalars()
    return b"".join(parts)
