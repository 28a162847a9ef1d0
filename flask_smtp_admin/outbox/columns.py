"""The columns of the rows of a new message and of its recipients, as an INSERT writes them.

Owns which of them are parameters, which are the same for every message, and how the connection is
chosen within the statement. Must not know whose values they are.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .. import routing
from ..models import Message, RecipientStatus, Status

GIVEN = (
    *("message_id", "idempotency_key", "connection_id", "pinned", "sender", "from_header"),
    *("subject", "subject_key", "first_recipient", "recipient_count", "size", "smtputf8"),
    *("eight_bit", "automated", "sensitive", "at_most_once", "max_attempts", "priority", "due_at"),
    *("expires_at", "created_at"),
)
ALIKE: dict[str, Any] = {"status": Status.QUEUED.value, "attempts_count": 0, "crash_count": 0}
"""What every message begins with."""
PENDING = RecipientStatus.PENDING.value
"""What every recipient begins with."""


def literal(value: str | int) -> sa.ColumnElement[Any]:
    """Return a constant of ours as words of the statement: each parameter takes its time."""
    return sa.literal_column(f"'{value}'" if isinstance(value, str) else str(value))


AS_GIVEN: dict[str, sa.ColumnElement[Any]] = {
    **{name: sa.bindparam(name, type_=getattr(Message, name).type) for name in GIVEN},
    **{name: literal(value) for name, value in ALIKE.items()},
}
"""With ``connection_id`` as it is given."""
CHOOSING: dict[str, sa.ColumnElement[Any]] = {
    **AS_GIVEN,
    "connection_id": sa.func.coalesce(AS_GIVEN["connection_id"], routing.CHOICE.scalar_subquery()),
}
"""Where none is given, with the connection that carries the sender; it takes the parameters of
:func:`~flask_smtp_admin.routing.choosing`."""
RECIPIENT: dict[str, sa.ColumnElement[Any]] = {
    **{name: sa.bindparam(name) for name in ("message_id", "address", "address_key")},
    # The kind is given as the text that is stored.
    "kind": sa.bindparam("kind", type_=sa.String),
    "status": literal(PENDING),
}
