"""The one function that writes the state of a message.

Owns the conditional update: a row that somebody else changed first is left alone. Must not know who
asks, nor why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..bulk import Bulk, Runs, array_of, is_among
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


_SETTLE = Bulk(
    sa.update(Message)
    .where(
        Message.id == sa.bindparam("message"),
        Message.lease_token == sa.bindparam("token"),
        Message.status == sa.bindparam("sending", type_=Message.status.type),
    )
    .values(
        status=sa.bindparam("status"),
        lease_until=sa.null(),
        due_at=sa.func.coalesce(sa.bindparam("due_at", type_=Message.due_at.type), Message.due_at),
        attempts_count=sa.bindparam("attempts_count"),
        last_attempt_at=sa.bindparam("last_attempt_at"),
        finished_at=sa.bindparam("finished_at"),
        last_stage=sa.bindparam("last_stage"),
        last_code=sa.bindparam("last_code"),
        last_enhanced=sa.bindparam("last_enhanced"),
        last_reply=sa.bindparam("last_reply"),
        reason=sa.bindparam("reason"),
    )
)


def settle(connection: Runs, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write what came of messages that were sent under a lease, and say how many changed.

    A row has ``message`` (its number), ``token`` (of the lease), ``status``, ``due_at`` (``None``
    leaves it) and the columns of an outcome. One that somebody else has taken is not changed.

    :raises ValueError: ``TRANSITIONS`` does not have the step.
    """
    for row in rows:
        if row["status"] not in TRANSITIONS[Status.SENDING]:
            raise ValueError(f"A message cannot go from sending to {row['status']}.")
    return _SETTLE.run(connection, [{"sending": Status.SENDING, **row} for row in rows])


_TAKEN_FROM = {
    f"state_{number}": state
    for number, state in enumerate(sorted(TRANSITIONS))
    if Status.SENDING in TRANSITIONS[state]
}

_TAKE_AGAIN = Bulk(
    sa.update(Message)
    .where(
        Message.id == sa.bindparam("message"),
        Message.lease_token.is_(None),
        sa.or_(
            *(
                Message.status == sa.bindparam(name, type_=Message.status.type)
                for name in _TAKEN_FROM
            )
        ),
    )
    .values(status=sa.bindparam("sending"), lease_token=sa.bindparam("token"))
)


def take_again(connection: Runs, number: int, token: str) -> bool:
    """Put a message under the lease again from which a sweep took it, to write what came of it.

    ``False``: somebody has tried or deleted it since; it stays as it is.
    """
    row = {"message": number, "token": token, "sending": Status.SENDING, **_TAKEN_FROM}
    return bool(_TAKE_AGAIN.run(connection, [row]))


def _taking(which: sa.ColumnElement[bool]) -> Bulk:
    return Bulk(
        sa.update(Message)
        .where(which, Message.status == sa.bindparam("queued", type_=Message.status.type))
        .values(
            status=sa.bindparam("sending"),
            lease_token=sa.bindparam("token"),
            lease_until=sa.bindparam("until"),
        )
    )


_TAKE = _taking(Message.id == sa.bindparam("message"))
_TAKE_ALL = _taking(is_among(Message.id, "messages"))


def take(connection: Runs, numbers: Iterable[int], token: str, until: datetime) -> None:
    """Put queued messages under a lease, to be sent; one that somebody else has stays as it is."""
    same = {"queued": Status.QUEUED, "sending": Status.SENDING, "token": token, "until": until}
    if connection.dialect.name == "postgresql":  # each row would be a question of its own there
        _TAKE_ALL.run(connection, [{"messages": array_of(numbers), **same}])
    else:
        _TAKE.run(connection, [{"message": number, **same} for number in numbers])
