"""Inserting new messages, each with its recipients and its bytes, in as few questions as can be.

Owns the choice of the way, and the one that every database knows: a statement for each table. Must
not know transactions, nor what is told about a message that was stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from .. import routing
from ..bulk import Bulk, Row, Runs
from ..models import Message, MessageBody, Recipient
from . import columns, copying
from .rows import New, bodies, recipients
from .whole import insert_whole, is_small

BODIES_A_STATEMENT = 10
"""Parts of bodies, each of up to :data:`~flask_smtp_admin.models.message.BODY_PART_BYTES`."""


def insert(connection: Runs, new: Sequence[New]) -> list[int]:
    """Insert messages with all their rows, and return their numbers.

    :raises IntegrityError: another message has the idempotency key; the statement has failed.
    :raises KeyTaken: the same, but no statement has failed.
    """
    if len(new) > 1 and copying.is_possible(connection):
        _choose(connection, new)
        return copying.copy(connection, new)
    if connection.dialect.name == "postgresql" and all(map(is_small, new)):
        return [insert_whole(connection, one) for one in new]
    numbers = _insert_messages(connection, new)
    _insert_contents(connection, numbers, new)
    return numbers


def _insert_messages(connection: Runs, new: Sequence[New]) -> list[int]:
    if connection.dialect.name in ("mysql", "mariadb"):
        # Within the INSERT it would lock what it reads.
        _choose(connection, new)
        return [_INSERT_AS_GIVEN.insert(connection, one.row) for one in new]
    if connection.dialect.name == "sqlite" and len(new) > 1:
        _choose(connection, new)
        first = _INSERT_MESSAGE.insert(
            connection, new[0].row | routing.choosing(new[0].row["sender"])
        )
        # From here on nobody else writes, so that the next numbers are known.
        numbers = list(range(first, first + len(new)))
        _INSERT_NUMBERED.run(
            connection,
            [one.row | {"id": number} for number, one in zip(numbers[1:], new[1:], strict=True)],
        )
        return numbers
    return [
        _INSERT_MESSAGE.insert(connection, one.row | routing.choosing(one.row["sender"]))
        for one in new
    ]


def _choose(connection: Runs, new: Iterable[New]) -> None:
    """Find out which connection carries each message, asking once for a sender."""
    chosen: dict[str, int | None] = {}
    for one in new:
        row, sender = one.row, one.message.sender
        if row["connection_id"] is not None:
            continue
        if sender not in chosen:
            chosen[sender] = routing.choose(connection, sender)
        row["connection_id"] = chosen[sender]


def _insert_contents(connection: Runs, numbers: Sequence[int], new: Sequence[New]) -> None:
    for_recipients: list[Row] = []
    for_bodies: list[Row] = []
    for number, one in zip(numbers, new, strict=True):
        for_recipients += recipients(number, one.message)
        for_bodies += bodies(number, one.message)
    _INSERT_RECIPIENT.run(connection, for_recipients)
    # A few at a time: all together they may be more than MariaDB takes in one packet.
    for start in range(0, len(for_bodies), BODIES_A_STATEMENT):
        _INSERT_BODY.run(connection, for_bodies[start : start + BODIES_A_STATEMENT])


_MESSAGE = sa.insert(Message).values(columns.CHOOSING)
_INSERT_MESSAGE = Bulk(_MESSAGE, _MESSAGE.returning(Message.id))
_INSERT_AS_GIVEN = Bulk(sa.insert(Message).values(columns.AS_GIVEN))
_INSERT_NUMBERED = Bulk(sa.insert(Message).values({**columns.AS_GIVEN, "id": sa.bindparam("id")}))
_INSERT_RECIPIENT = Bulk(sa.insert(Recipient).values(columns.RECIPIENT))
_INSERT_BODY = Bulk(
    sa.insert(MessageBody).values(
        {name: sa.bindparam(name) for name in ("message_id", "part", "content")}
    )
)
