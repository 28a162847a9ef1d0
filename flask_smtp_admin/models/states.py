"""The states of a message, and the one function that writes them.

Owns the closed set of states, which may follow which, and the conditional update. The
documentation and the database's CHECK constraint show the same table; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

import sqlalchemy as sa


class Status(str, Enum):
    """What a message is doing."""

    QUEUED = "queued"
    """Waits for its due time; "scheduled" and "deferred" are this with a later due time."""
    SENDING = "sending"
    """Claimed by a worker, under a lease."""
    HELD = "held"
    """Waits for a person, or was put aside because going on might do harm."""
    SENT = "sent"
    """The server accepted it for every recipient."""
    PARTIAL = "partial"
    """The server accepted it for some recipients; the others were given up."""
    FAILED = "failed"
    """Given up for every recipient, with the reason."""
    DELETED = "deleted"
    """A person deleted it before it was sent; its body is gone."""

    def __str__(self) -> str:
        return self.value


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.SENDING, Status.HELD, Status.FAILED, Status.DELETED}),
    Status.SENDING: frozenset(
        {Status.QUEUED, Status.HELD, Status.SENT, Status.PARTIAL, Status.FAILED}
    ),
    Status.HELD: frozenset({Status.QUEUED, Status.FAILED, Status.DELETED}),
    Status.SENT: frozenset(),
    Status.PARTIAL: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.DELETED}),
    Status.DELETED: frozenset(),
}
"""Which state may follow which. A person may put a failed message back into the queue."""

FINAL = frozenset({Status.SENT, Status.PARTIAL, Status.FAILED, Status.DELETED})
"""States that no worker leaves by itself."""

UNSENT = frozenset({Status.QUEUED, Status.SENDING, Status.HELD})
"""States of messages that wait or are under way."""


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
    from .message import Message  # the table's CHECK needs Status, so it cannot come first

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
