"""The everyday work of several lanes in one statement, on PostgreSQL.

Owns that statement. What it writes is what :mod:`flask_smtp_admin.delivery.record` writes in several
ones; each of those is a question that the server has to be asked, while this one commits by itself.
Must not know sockets, and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from ..bulk import Bulk, Runs, array_of, is_among
from ..models import Attempt, Connection, Flight, Message, Recipient, Status
from ..models.states import FINAL
from . import record
from .record import Begin, Contested, Done

_ONE: sa.ColumnClause[int] = sa.literal_column("1", sa.Integer())
_NUMBER, _WORDS, _YES, _TIME = "int8", "text", "bool", "timestamptz"
_TYPES: dict[str, TypeEngine[Any]] = {
    _NUMBER: sa.BigInteger(),
    _WORDS: sa.Text(),
    _YES: sa.Boolean(),
    _TIME: sa.DateTime(timezone=True),
}


def is_possible(dialect: sa.Dialect) -> bool:
    """Tell whether the database understands the statement."""
    return dialect.name == "postgresql"


class Rows(NamedTuple):
    """What is written for one lane: its row and those of recipients, as JSON; and which they are."""

    done: int | None
    begin: int | None
    told: tuple[int, ...]
    lane: str
    recipients: str


def rows_of(done: Done | None, begin: Begin | None, now: datetime) -> Rows:
    """Make the rows of an outcome, and of a message to be marked as in flight."""
    lane: dict[str, object] = {}
    told: list[dict[str, object]] = []
    if done is not None:
        lane |= _outcome(done, now)
        told = record.recipient_rows(done, now)
    if begin is not None:
        lane |= _mark(begin, now)
    return Rows(
        done=None if done is None else done.message.id,
        begin=None if begin is None else begin.message.id,
        told=tuple([outcome.id for outcome in done.decision.recipients] if done else ()),
        lane=_json(lane),
        recipients=_json(told)[1:-1],
    )


def write(connection: Runs, lanes: Sequence[Rows]) -> None:
    """Write outcomes, and mark messages as in flight.

    :raises Contested: one of them is no longer ours, or a connection was changed, or a value is one
        that the database does not take; nothing was written.
    """
    dones = [rows.done for rows in lanes if rows.done is not None]
    begins = [rows.begin for rows in lanes if rows.begin is not None]
    values = {
        "lanes": _listed(rows.lane for rows in lanes),
        "recipients": _listed(rows.recipients for rows in lanes),
        "done_ids": array_of(dones),
        "recipient_ids": array_of(number for rows in lanes for number in rows.told),
        "begin_ids": array_of(begins),
        "settled": len(dones),
        "begun": len(begins),
        "sending": Status.SENDING,
    }
    try:
        _EVERYTHING.first(connection, values)
    except OperationalError:
        raise
    except DBAPIError as error:
        raise Contested from error


def _outcome(done: Done, now: datetime) -> dict[str, object]:
    status = done.decision.status
    return {
        **record.end_row(done, now, mine=True),
        **record.progress_row(done),
        "outcome": status,
        "is_final": status in FINAL,
    }


def _mark(begin: Begin, now: datetime) -> dict[str, object]:
    return {
        **record.mark_row(begin, now),
        "next": begin.message.id,
        "next_token": begin.message.lease_token,
        "then": begin.carrier.updated_at,
    }


_json = json.JSONEncoder(default=datetime.isoformat, separators=(",", ":")).encode


def _listed(rows: Iterable[str]) -> str:
    return f"[{','.join(filter(None, rows))}]"


# Which rows they are is said twice, as JSON and as an array: of JSON the planner does not know how
# many it holds, and would rather look through a table than look each up.

# The statement is kept short, down to its names and stars: beyond 4,096 characters, psycopg looks for
# its parameters anew each time.


def _rows(parameter: str, **columns: str) -> sa.TextualSelect:
    """Return the rows of a parameter, which is JSON."""
    listed = ", ".join(f'"{name}" {type_}' for name, type_ in columns.items())
    words = sa.text(
        f"SELECT * FROM json_to_recordset(CAST(:{parameter} AS JSON)) AS one({listed})"  # noqa: S608
    )
    typed = words.bindparams(sa.bindparam(parameter, type_=sa.Text()))
    return typed.columns(*[sa.column(name, _TYPES[type_]) for name, type_ in columns.items()])


def _lease_of(model: Any) -> sa.ColumnElement[str]:
    """Return the lease's token, in a form that no index has.

    By the index of leases the server would find each message among a hundred with the same token, and
    among all the former states of those. Each is to be looked up by its number.
    """
    return sa.func.coalesce(model.lease_token, sa.literal_column("''"))


def _lanes() -> sa.CTE:
    """Return what the lanes want written, a row each; of what one does not want, there is nothing."""
    return _rows(
        "lanes",
        # the message that was sent, and its attempt
        message=_NUMBER,
        token=_WORDS,
        outcome=_WORDS,
        is_final=_YES,
        due_at=_TIME,
        attempts_count=_NUMBER,
        last_attempt_at=_TIME,
        **_END,
        # the one that is next
        next=_NUMBER,
        next_token=_WORDS,
        recipient=_WORDS,
        recipient_count=_NUMBER,
        started_at=_TIME,
        worker=_WORDS,
        connection_id=_NUMBER,
        then=_TIME,
    ).cte("l")


_END = {
    "status": _WORDS,
    "counted": _YES,
    "finished_at": _TIME,
    "milliseconds": _NUMBER,
    "stage": _WORDS,
    "smtp_code": _NUMBER,
    "enhanced_code": _WORDS,
    "reply": _WORDS,
    "reason": _WORDS,
    "advice": _WORDS,
    "tls": _WORDS,
    "dialogue": _WORDS,
}
"""Columns of an attempt that has ended."""


def _settled(lanes: sa.CTE) -> sa.CTE:
    message = aliased(Message, name="s")
    return (
        sa.update(message)
        .where(
            message.id == lanes.c.message,
            is_among(message.id, "done_ids"),
            _lease_of(message) == lanes.c.token,
            message.status == sa.bindparam("sending", type_=message.status.type),
        )
        .values(
            status=lanes.c.outcome,
            lease_until=sa.null(),
            due_at=sa.func.coalesce(lanes.c.due_at, message.due_at),
            attempts_count=lanes.c.attempts_count,
            last_attempt_at=lanes.c.last_attempt_at,
            finished_at=sa.case((lanes.c.is_final, lanes.c.finished_at)),
            last_stage=lanes.c.stage,
            last_code=lanes.c.smtp_code,
            last_enhanced=lanes.c.enhanced_code,
            last_reply=lanes.c.reply,
            reason=lanes.c.reason,
        )
        .returning(_ONE)
        .cte("settled")
    )


def _finished(lanes: sa.CTE) -> sa.CTE:
    """Have marks become attempts."""
    flight = aliased(Flight, name="f")
    columns = {
        "message_id": flight.message_id,
        "connection_id": flight.connection_id,
        **{name: getattr(flight, name) for name in record.BEGUN},
        **{name: lanes.c[name] for name in _END},
    }
    marks = (
        sa.delete(flight)
        .where(
            flight.message_id == lanes.c.message,
            is_among(flight.message_id, "done_ids"),
            flight.lease_token == lanes.c.token,
        )
        .returning(*columns.values())
        .cte("e")
    )
    all_of_them: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(marks)
    insert = sa.insert(Attempt).from_select(list(columns), all_of_them, include_defaults=False)
    return insert.returning(_ONE).cte("finished")


def _recipients() -> sa.CTE:
    new = {
        "status": _WORDS,
        "smtp_code": _NUMBER,
        "enhanced_code": _WORDS,
        "reply": _WORDS,
        "finished_at": _TIME,
    }
    rows = _rows("recipients", recipient=_NUMBER, **new).cte("replies")
    return (
        sa.update(Recipient)
        .where(Recipient.id == rows.c.recipient, is_among(Recipient.id, "recipient_ids"))
        .values({name: rows.c[name] for name in new})
        .cte("told")
    )


def _begun(lanes: sa.CTE) -> sa.CTE:
    message, connection = aliased(Message, name="m"), aliased(Connection, name="c")
    columns = {
        "message_id": message.id,
        "connection_id": connection.id,
        # As it is in the carrier: it has not been changed since.
        "connection": connection.caption,
        "host": connection.host,
        "port": connection.port,
        "encryption": connection.encryption,
        "use_auth": connection.use_auth,
        "number": message.attempts_count + _ONE,
        "sender": message.sender,
        "recipient": lanes.c.recipient,
        "recipient_count": lanes.c.recipient_count,
        "subject": message.subject,
        "subject_key": message.subject_key,
        "detour": message.detour,
        "started_at": lanes.c.started_at,
        "worker": lanes.c.worker,
        "lease_token": lanes.c.next_token,
    }
    # Locked, so that a sweep that is just taking the message back either sees the mark or comes first.
    mine = (
        sa.select(*columns.values())
        .where(
            message.id == lanes.c.next,
            is_among(message.id, "begin_ids"),
            _lease_of(message) == lanes.c.next_token,
            message.status == sa.bindparam("sending", type_=message.status.type),
            connection.id == lanes.c.connection_id,
            connection.updated_at == lanes.c.then,
            connection.enabled,
        )
        .with_for_update(of=message)
    )
    insert = sa.insert(Flight).from_select(list(columns), mine, include_defaults=False)
    return insert.returning(_ONE).cte("begun")


def _count(of: sa.CTE) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(of).scalar_subquery()


def _everything() -> sa.Select[Any]:
    """Return the statement. It divides by zero, and so writes nothing, unless all is as expected."""
    lanes = _lanes()
    settled = sa.bindparam("settled", type_=sa.BigInteger())
    is_as_expected = sa.and_(
        _count(_settled(lanes)) == settled,
        _count(_finished(lanes)) == settled,
        _count(_begun(lanes)) == sa.bindparam("begun", type_=sa.BigInteger()),
    )
    return sa.select(_ONE.op("/")(sa.cast(is_as_expected, sa.Integer))).add_cte(_recipients())


_EVERYTHING = Bulk(_everything, often=True)
