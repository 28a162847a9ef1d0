"""The everyday work of several lanes in one statement, on PostgreSQL.

Owns that statement. What it writes is what :mod:`flask_smtp_admin.delivery.record` writes in several
ones; each of those is a question that the server has to be asked, while this one commits by itself.
Must not know sockets, and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql.selectable import TableValuedAlias

from ..bulk import Bulk, Runs, is_among
from ..models import Attempt, AttemptStatus, Connection, Message, Recipient, Status
from . import record
from .record import Begin, Contested, Done

_NUMBER, _WORDS, _YES, _TIME = sa.BigInteger(), sa.Text(), sa.Boolean(), sa.DateTime(timezone=True)


def is_possible(dialect: sa.Dialect) -> bool:
    """Tell whether the database understands the statement."""
    return dialect.name == "postgresql"


@dataclass(frozen=True)
class Rows:
    """What is written for one lane: rows as JSON, without the brackets around them; and of which."""

    done: int | None
    begin: int | None
    told: tuple[int, ...]
    outcome: str
    end: str
    recipients: str
    mark: str


def rows_of(done: Done | None, begin: Begin | None, now: datetime) -> Rows:
    """Make the rows of an outcome, and of a message to be marked as in flight."""
    told = record.recipient_rows(done, now) if done is not None else []
    return Rows(
        done=None if done is None else done.message.id,
        begin=None if begin is None else begin.message.id,
        told=tuple([outcome.id for outcome in done.decision.recipients] if done else ()),
        outcome="" if done is None else _json(record.outcome_row(done, now)),
        end="" if done is None else _json(record.end_row(done, now, mine=True)),
        recipients=",".join(map(_json, told)),
        mark="" if begin is None else _json(_begin_row(begin, now)),
    )


def write(connection: Runs, lanes: Sequence[Rows]) -> None:
    """Write outcomes, and mark messages as in flight.

    :raises Contested: one of them is no longer ours, or a connection was changed, or a value is one
        that the database does not take; nothing was written.
    """
    dones = [rows.done for rows in lanes if rows.done is not None]
    begins = [rows.begin for rows in lanes if rows.begin is not None]
    values = {
        "outcomes": _listed(rows.outcome for rows in lanes),
        "ends": _listed(rows.end for rows in lanes),
        "recipients": _listed(rows.recipients for rows in lanes),
        "begins": _listed(rows.mark for rows in lanes),
        "done_ids": dones,
        "recipient_ids": [number for rows in lanes for number in rows.told],
        "begin_ids": begins,
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


def _begin_row(one: Begin, now: datetime) -> dict[str, object]:
    return {
        **record.attempt_row(one, now),
        "status": AttemptStatus.IN_PROGRESS,
        "lease_token": one.message.lease_token,
        "then": one.carrier.updated_at,
    }


_json = json.JSONEncoder(default=datetime.isoformat).encode


def _listed(rows: Iterable[str]) -> str:
    return f"[{','.join(filter(None, rows))}]"


# Which rows they are is said twice, as JSON and as an array: of JSON the planner does not know how
# many it holds, and would rather look through a table than look each up.


def _rows(parameter: str, **columns: Any) -> TableValuedAlias:
    """Return the rows of a parameter, which is JSON."""
    parameter_ = sa.cast(sa.bindparam(parameter, type_=sa.Text()), sa.JSON)
    listed = [sa.column(name, type_) for name, type_ in columns.items()]
    rows = sa.func.json_to_recordset(parameter_).table_valued(*listed)
    return rows.render_derived(name=parameter, with_types=True)


def _lease_of(model: type[Message]) -> sa.ColumnElement[str]:
    """Return the lease's token, in a form that no index has.

    By the index of leases the server would find each message among a hundred with the same token, and
    among all the former states of those. Each is to be looked up by its number.
    """
    return sa.func.coalesce(model.lease_token, sa.literal_column("''"))


def _settled() -> sa.CTE:
    new = {
        "status": _WORDS,
        "attempts_count": _NUMBER,
        "last_attempt_at": _TIME,
        "finished_at": _TIME,
        "last_stage": _WORDS,
        "last_code": _NUMBER,
        "last_enhanced": _WORDS,
        "last_reply": _WORDS,
        "reason": _WORDS,
    }
    rows = _rows("outcomes", message=_NUMBER, token=_WORDS, due_at=_TIME, **new)
    return (
        sa.update(Message)
        .where(
            Message.id == rows.c.message,
            is_among(Message.id, "done_ids"),
            _lease_of(Message) == rows.c.token,
            Message.status == sa.bindparam("sending", type_=Message.status.type),
        )
        .values(
            lease_until=sa.null(),
            due_at=sa.func.coalesce(rows.c.due_at, Message.due_at),
            **{name: rows.c[name] for name in new},
        )
        .returning(Message.id)
        .cte("settled")
    )


def _finished() -> sa.CTE:
    new = {
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
    rows = _rows("ends", message=_NUMBER, token=_WORDS, **new)
    return (
        sa.update(Attempt)
        .where(
            Attempt.message_id == rows.c.message,
            is_among(Attempt.message_id, "done_ids"),
            Attempt.lease_token == rows.c.token,
        )
        .values({name: rows.c[name] for name in new})
        .returning(Attempt.id)
        .cte("finished")
    )


def _recipients() -> sa.CTE:
    new = {
        "status": _WORDS,
        "smtp_code": _NUMBER,
        "enhanced_code": _WORDS,
        "reply": _WORDS,
        "finished_at": _TIME,
    }
    rows = _rows("recipients", recipient=_NUMBER, **new)
    return (
        sa.update(Recipient)
        .where(Recipient.id == rows.c.recipient, is_among(Recipient.id, "recipient_ids"))
        .values({name: rows.c[name] for name in new})
        .returning(Recipient.id)
        .cte("told")
    )


def _begun() -> sa.CTE:
    given = {
        "connection": _WORDS,
        "host": _WORDS,
        "port": _NUMBER,
        "encryption": _WORDS,
        "use_auth": _YES,
        "counted": _YES,
        "recipient": _WORDS,
        "recipient_count": _NUMBER,
        "status": _WORDS,
        "started_at": _TIME,
        "worker": _WORDS,
        "lease_token": _WORDS,
    }
    rows = _rows("begins", message=_NUMBER, connection_id=_NUMBER, then=_TIME, **given)
    # Locked, so that a sweep that is just taking the message back either sees the mark or comes first.
    mine = (
        sa.select(
            Message.id,
            Connection.id,
            Message.attempts_count + sa.literal_column("1"),
            Message.sender,
            Message.subject,
            Message.subject_key,
            Message.detour,
            *(rows.c[name] for name in given),
        )
        .where(
            Message.id == rows.c.message,
            is_among(Message.id, "begin_ids"),
            _lease_of(Message) == rows.c.lease_token,
            Message.status == sa.bindparam("sending", type_=Message.status.type),
            Connection.id == rows.c.connection_id,
            Connection.updated_at == rows.c.then,
            Connection.enabled,
        )
        .with_for_update(of=Message)
    )
    names = (
        "message_id",
        "connection_id",
        "number",
        "sender",
        "subject",
        "subject_key",
        "detour",
        *given,
    )
    insert = sa.insert(Attempt).from_select(names, mine, include_defaults=False)
    return insert.returning(Attempt.id).cte("begun")


def _count(of: sa.CTE) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(of).scalar_subquery()


def _everything() -> sa.Select[Any]:
    """Return the statement. It divides by zero, and so writes nothing, unless all is as expected."""
    settled, begun = _settled(), _begun()
    is_as_expected = sa.and_(
        _count(settled) == sa.bindparam("settled", type_=_NUMBER),
        _count(begun) == sa.bindparam("begun", type_=_NUMBER),
    )
    return sa.select(sa.literal_column("1").op("/")(sa.cast(is_as_expected, sa.Integer))).add_cte(
        _finished(), _recipients()
    )


_EVERYTHING = Bulk(_everything(), replanned=True)
