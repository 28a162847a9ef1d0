"""The one function that writes the state of a message.

Owns the conditional update: a row that somebody else changed first is left alone. Must not know who
asks, nor why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from .message import Message
from .states import TRANSITIONS, Status


def move(
    connection: sa.Connection,
    to: Status,
    *where: sa.ColumnElement[bool],
    from_: Iterable[Status],
    values: dict[str, Any] | None = None,
) -> int:
    """Write the state ``to`` into the messages that match, and say how many changed.

    :param where: conditions on the message table: its id, and its lease token where a worker
        writes. A row that somebody else changed first no longer matches and is not counted.
    :param from_: the states that the rows may be in now.
    :param values: further columns to write in the same statement.
    :raises ValueError: ``TRANSITIONS`` does not have the step.
    """
    sources = frozenset(from_)
    for source in sources:
        if to not in TRANSITIONS[source]:
            raise ValueError(f"A message cannot go from {source} to {to}.")
    statement = (
        sa.update(Message)
        .where(Message.status.in_(sorted(sources)), *where)
        .values(status=to, **(values or {}))
        .execution_options(synchronize_session=False)
    )
    return int(connection.execute(statement).rowcount)
