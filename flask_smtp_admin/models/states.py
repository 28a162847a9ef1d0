"""The states of a message, and which may follow which.

Owns the closed set. The documentation and the database's CHECK constraint show the same table; a test compares them.
"""

from __future__ import annotations

from enum import Enum


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
    Status.QUEUED: frozenset(
        {Status.SENDING, Status.HELD, Status.PARTIAL, Status.FAILED, Status.DELETED}
    ),
    Status.SENDING: frozenset(
        {Status.QUEUED, Status.HELD, Status.SENT, Status.PARTIAL, Status.FAILED}
    ),
    Status.HELD: frozenset(
        {Status.QUEUED, Status.SENDING, Status.PARTIAL, Status.FAILED, Status.DELETED}
    ),
    Status.SENT: frozenset(),
    Status.PARTIAL: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.DELETED}),
    Status.DELETED: frozenset(),
}
"""Which state may follow which. A person may put a failed message back into the queue. Nobody takes a
held one to send it; a worker that was given up too early may say what came of it."""

FINAL = frozenset({Status.SENT, Status.PARTIAL, Status.FAILED, Status.DELETED})
"""States that no worker leaves by itself."""

UNSENT = frozenset({Status.QUEUED, Status.SENDING, Status.HELD})
"""States of messages that wait or are under way."""
