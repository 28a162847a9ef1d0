"""Inserting a message with all its rows in one statement, on PostgreSQL.

Owns that statement: there the question and its answer take longer than the writing. Must not know
transactions.
"""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from .. import routing
from ..bulk import Bulk, Runs
from ..errors import OutboxUnavailable
from ..models import Message, MessageBody, Recipient
from ..models.message import BODY_PART_BYTES
from .columns import CHOOSING, PENDING, literal
from .rows import New


class KeyTaken(OutboxUnavailable):
    """Another message has the idempotency key; if it cannot be found, it is just being removed."""


def is_small(new: New) -> bool:
    """Tell whether the message has its bytes in one part."""
    return new.message.size <= BODY_PART_BYTES


def insert_whole(connection: Runs, new: New) -> int:
    """Insert a small message with all its rows, and return its number.

    :raises KeyTaken: another message has its idempotency key. No statement has failed then, so that
        the transaction around it can go on.
    """
    message, row = new.message, new.row
    addresses = "\n".join([one.address for one in message.recipients])
    statement = _INSERT if row["idempotency_key"] is None else _INSERT_WITH_KEY
    found = statement.first(
        connection,
        {
            **row,
            **routing.choosing(message.sender),
            "addresses": addresses,
            "address_keys": addresses.lower(),
            "kinds": "\n".join([one.kind for one in message.recipients]),
            "content": message.content,
        },
    )
    if found is None:
        raise KeyTaken("A message with this idempotency key is just being removed. Try again.")
    return int(found[0])


def _lines(parameter: str) -> sa.Label[str]:
    """The lines of a text as rows; several texts go side by side.

    No address has a line end in it. An array takes the driver four times as long.
    """
    text = sa.bindparam(parameter, type_=sa.String)
    return sa.func.unnest(sa.func.string_to_array(text, literal("\n"))).label(None)


def _statement(*, with_key: bool) -> sa.Select[int]:
    message = postgresql.insert(Message).values(CHOOSING)
    if with_key:
        message = message.on_conflict_do_nothing(
            index_elements=[Message.idempotency_key],
            index_where=Message.idempotency_key.is_not(None),
        )
    stored = message.returning(Message.id).cte("message")
    recipients = sa.insert(Recipient).from_select(
        ["message_id", "address", "address_key", "kind", "status"],
        sa.select(
            stored.c.id,
            *map(_lines, ("addresses", "address_keys", "kinds")),
            literal(PENDING),
        ),
        include_defaults=False,
    )
    body = sa.insert(MessageBody).from_select(
        ["message_id", "part", "content"],
        sa.select(
            stored.c.id,
            literal(0),
            sa.bindparam("content", type_=MessageBody.content.type).label("content"),
        ),
        include_defaults=False,
    )
    return sa.select(stored.c.id).add_cte(recipients.cte("recipients"), body.cte("body"))


_INSERT = Bulk(partial(_statement, with_key=False))
_INSERT_WITH_KEY = Bulk(partial(_statement, with_key=True))
