"""A claim in one statement, on PostgreSQL.

Owns that statement. What it takes is what :mod:`flask_smtp_admin.delivery.claim` takes in several
ones; each of those is a question that the server has to be asked, and until the last answer nothing
is written for any lane. This one commits by itself. Must not know SMTP.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from ..bulk import Bulk, Runs
from ..models import Message, MessageBody, Priority, Recipient, Status
from . import breaker, claim, record
from .claim import Claimed
from .record import Carrier


def is_possible(dialect: sa.Dialect) -> bool:
    """Tell whether the database understands the statement."""
    return dialect.name == "postgresql"


def claim_current(
    connection: Runs,
    carrier: Carrier,
    *,
    limit: int,
    token: str,
    since: datetime,
    now: datetime,
    lasts: timedelta,
) -> list[Claimed] | None:
    """Take due messages as :func:`.claim.claim` does.

    :param since: when a lane began: a server that has asked for a pause since gets nothing.
    :param lasts: how long the lease lasts from now on, by the clock of the database.

    ``None``: the connection is not as it was, or its server takes no more.
    """
    values = {
        "number": carrier.id,
        "connection": carrier.id,
        "then": carrier.updated_at,
        "since": since,
        "now": now,
        "limit": limit,
        "token": token,
        "lasts": lasts,
        "sending": Status.SENDING,
        "bulk": claim.BULK_BODY_BYTES,
    }
    rows = _EVERYTHING.every(connection, values)
    if not rows:
        return None
    return [
        claim.claimed(row[:-1], token, sorted(json.loads(row[-1] or "[]")))
        for row in rows
        if row[0] is not None
    ]


def _wanted() -> sa.CTE:
    """Return one row if the connection is as it was and its server takes more, otherwise none."""
    return record.CURRENT.where(~breaker.PAUSE.exists()).cte("wanted")


def _due(wanted: sa.CTE) -> list[sa.CTE]:
    """Return the numbers of due messages: for each priority those that the former ones leave room for.

    One query a priority: with all in one, the index would be walked through every message that
    waits for a retry.
    """
    found: list[sa.CTE] = []
    room: Any = sa.bindparam("limit", type_=sa.BigInteger())
    for priority in sorted(Priority.BY_NAME.values()):
        query = (
            sa.select(Message.id)
            .where(
                *claim.due(
                    sa.bindparam("connection", type_=Message.connection_id.type),
                    sa.bindparam("now", type_=Message.due_at.type),
                ),
                Message.priority == sa.literal_column(str(priority)),
                sa.exists(sa.select(wanted.c.id)),
            )
            .order_by(Message.due_at, Message.id)
            .limit(room)
            .with_for_update(skip_locked=True)
        )
        found.append(query.cte(f"due_{priority}"))
        room = room - sa.select(sa.func.count()).select_from(found[-1]).scalar_subquery()
    return found


def _taken(due: list[sa.CTE]) -> sa.CTE:
    """Put them under the lease.

    By way of an array, since of a query the server does not know how few numbers it returns, and
    might read all messages.

    Nothing is taken that another worker had after this statement had begun, though it may be due
    again: the recipients that are read with it might be older.
    """
    message, seen = aliased(Message, name="m"), aliased(Message, name="seen")
    numbers: Any = sa.union_all(*(sa.select(one.c.id) for one in due))
    array = sa.func.array(numbers.scalar_subquery(), type_=sa.ARRAY(sa.BigInteger()))
    before = sa.select(seen.lease_token).where(seen.id == message.id).scalar_subquery()
    queued: sa.ColumnClause[Any] = sa.literal_column(f"'{Status.QUEUED.value}'")
    return (
        sa.update(message)
        .where(
            message.id == sa.any_(array),
            message.status == queued,
            message.lease_token.is_not_distinct_from(before),
        )
        .values(
            status=sa.bindparam("sending"),
            lease_token=sa.bindparam("token"),
            lease_until=sa.func.clock_timestamp()
            + sa.bindparam("lasts", type_=sa.Interval(native=True)),
        )
        .returning(
            *(getattr(message, column.key) for column in claim.COLUMNS),
            message.due_at,
        )
        .cte("taken")
    )


def _everything() -> sa.Select[Any]:
    wanted = _wanted()
    taken = _taken(_due(wanted)).c
    body = (
        sa.select(MessageBody.content)
        .where(
            MessageBody.message_id == taken.id,
            MessageBody.part == sa.literal_column("0"),
            taken.size <= sa.bindparam("bulk", type_=Message.size.type),
        )
        .scalar_subquery()
    )
    one = sa.func.json_build_array(Recipient.id, Recipient.address, Recipient.status)
    recipients = (
        sa.select(sa.cast(sa.func.json_agg(one), sa.Text()))
        .where(Recipient.message_id == taken.id)
        .scalar_subquery()
    )
    return (
        sa.select(*(taken[column.key] for column in claim.COLUMNS), body, recipients)
        .select_from(wanted.outerjoin(taken.id.table, sa.true()))
        .order_by(taken.priority, taken.due_at, taken.id)
    )


_EVERYTHING = Bulk(_everything, often=True)
