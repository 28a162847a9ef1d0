"""Writing down what is being tried and what came of it.

Owns the mark of a message in flight, the attempt that it becomes when it has ended, and the outcome
on message and recipients, for many messages at once, all in the transaction that it is handed. Must
not know sockets, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..bulk import Bulk, Runs
from ..models import (
    Attempt,
    AttemptStatus,
    Connection,
    Flight,
    Message,
    MessageBody,
    Recipient,
    RecipientStatus,
    Status,
)
from ..models.states import FINAL
from ..models.transition import settle, take_again
from ..smtp import Endpoint, Line, Reply, Stage, TlsFacts
from .claim import Claimed
from .decide import Decision
from .limits import Limits

MAX_REPLY = 4_000
MAX_DIALOGUE = 60_000
"""Characters of a dialogue that are kept; MariaDB's TEXT takes 65,535 bytes."""


@dataclass(frozen=True)
class Carrier:
    """The connection that carries a batch, as it was when the batch was claimed."""

    id: int
    caption: str
    endpoint: Endpoint
    driver: str
    max_sessions: int
    messages_per_session: int
    max_attempts: int | None
    limits: Limits
    updated_at: datetime

    @classmethod
    def of(cls, connection: Connection, endpoint: Endpoint) -> Carrier:
        """Take what delivery needs from the row."""
        return cls(
            id=connection.id,
            caption=connection.caption,
            endpoint=endpoint,
            driver=connection.driver,
            max_sessions=connection.max_sessions,
            messages_per_session=connection.messages_per_session,
            max_attempts=connection.max_attempts,
            limits=Limits.of(connection),
            updated_at=connection.updated_at,
        )


@dataclass(slots=True)
class Report:
    """What the session has to say of an attempt besides its outcome."""

    stage: Stage
    reply: Reply | None
    seconds: float
    dialogue: tuple[Line, ...]
    tls: TlsFacts | None


@dataclass(slots=True)
class Done:
    """A message that was tried, when that began, and what is to be written of it."""

    message: Claimed
    started_at: datetime
    decision: Decision
    report: Report


class Contested(Exception):
    """Among several messages there is one that is no longer ours; which one is not known."""


def still_current(connection: Runs, carriers: Iterable[Carrier]) -> set[int]:
    """Return the numbers of those connections that are still enabled and as they were."""
    known = {carrier.id: carrier.updated_at for carrier in carriers}
    return {
        number
        for number, updated_at in known.items()
        if _CURRENT.first(connection, {"number": number, "then": updated_at}) is not None
    }


CURRENT = sa.select(Connection.id).where(
    Connection.id == sa.bindparam("number", type_=Connection.id.type),
    Connection.updated_at == sa.bindparam("then", type_=Connection.updated_at.type),
    Connection.enabled,
)
"""Finds the connection ``number`` if it is enabled and as it was ``then``."""
_CURRENT = Bulk(CURRENT)


# --- before a message is sent --------------------------------------------------------------------


@dataclass(slots=True)
class Begin:
    """A message that is about to be sent."""

    message: Claimed
    carrier: Carrier
    worker: str


def begin(connection: Runs, begins: Sequence[Begin], now: datetime) -> bool:
    """Mark messages as in flight.

    ``False``, for a single one: the lease is lost; somebody else has the message now and it must
    not be sent here.

    :raises Contested: the same for one of several; the transaction must be rolled back.
    """
    changed = _BEGIN.run(connection, [flight_row(one, now) for one in begins])
    if changed == len(begins):
        return True
    if len(begins) > 1:
        raise Contested
    return False


# Locked, so that a sweep that is just taking the message back either sees the mark or comes first.
_MINE = (
    sa.select(
        Message.id,
        sa.bindparam("connection_id", type_=Flight.connection_id.type),
        *(
            sa.bindparam(name, type_=getattr(Flight, name).type)
            for name in ("connection", "host", "port", "encryption", "use_auth")
        ),
        Message.attempts_count + sa.literal_column("1"),
        Message.sender,
        sa.bindparam("recipient", type_=Flight.recipient.type),
        sa.bindparam("recipient_count", type_=Flight.recipient_count.type),
        Message.subject,
        Message.subject_key,
        Message.detour,
        sa.bindparam("started_at", type_=Flight.started_at.type),
        sa.bindparam("worker", type_=Flight.worker.type),
        sa.bindparam("token", type_=Flight.lease_token.type),
    )
    .where(
        Message.id == sa.bindparam("message"),
        Message.lease_token == sa.bindparam("claim", type_=Message.lease_token.type),
        Message.status == sa.bindparam("sending", type_=Message.status.type),
    )
    .with_for_update(of=Message)
)
BEGUN = (
    *("connection", "host", "port", "encryption", "use_auth", "number", "sender", "recipient"),
    *("recipient_count", "subject", "subject_key", "detour", "started_at", "worker"),
    "lease_token",
)
"""Columns of an attempt that its mark has, besides the numbers of message and connection."""

_BEGIN = Bulk(
    sa.insert(Flight).from_select(
        ("message_id", "connection_id", *BEGUN), _MINE, include_defaults=False
    )
)


def flight_row(one: Begin, now: datetime) -> dict[str, object]:
    """Return what is written of an attempt that begins."""
    message, carrier = one.message, one.carrier
    endpoint = carrier.endpoint
    return {
        **mark_row(one, now),
        "message": message.id,
        "claim": message.lease_token,
        "token": message.lease_token,
        "sending": Status.SENDING,
        "connection": carrier.caption,
        "host": endpoint.host,
        "port": endpoint.port,
        "encryption": endpoint.encryption,
        "use_auth": endpoint.use_auth,
    }


def mark_row(one: Begin, now: datetime) -> dict[str, object]:
    """Return what of an attempt that begins is its own, whatever way it is written."""
    recipients = one.message.recipients
    return {
        "connection_id": one.carrier.id,
        "recipient": recipients[0].address.lower(),
        "recipient_count": len(recipients),
        "started_at": now,
        "worker": one.worker,
    }


def forget(connection: Runs, message: Claimed) -> None:
    """Remove the mark that was made under our claim, by a commit whose answer got lost.

    To be called before the message is offered: nothing has been sent yet.
    """
    _UNMARK.run(connection, [{"message": message.id, "token": message.lease_token}])


_MARK = (
    Flight.message_id == sa.bindparam("message", type_=Flight.message_id.type),
    Flight.lease_token == sa.bindparam("token", type_=Flight.lease_token.type),
)
_UNMARK = Bulk(sa.delete(Flight).where(*_MARK))


# --- after it ------------------------------------------------------------------------------------


def finish(connection: Runs, dones: Sequence[Done], now: datetime) -> bool:
    """Write outcomes. ``False``, for a single one: the lease was lost meanwhile; the log says so.

    :raises Contested: the same for one of several; the transaction must be rolled back.
    """
    mine = settle(connection, [outcome_row(done, now) for done in dones]) == len(dones)
    if mine:
        _end(connection, [end_row(done, now, mine=True) for done in dones])
        _settle_recipients(connection, dones, now)
        return True
    if len(dones) > 1:
        raise Contested
    [done] = dones
    if _was_written(connection, done):
        return True
    # What a server has is not to be offered to it again, if nobody has done so yet.
    mine = done.decision.accepted and take_again(
        connection, done.message.id, done.message.lease_token
    )
    _end_late(connection, end_row(done, now, mine=mine))
    if mine:
        settle(connection, [outcome_row(done, now)])
        _settle_recipients(connection, dones, now)
    return mine


def _settle_recipients(connection: Runs, dones: Sequence[Done], now: datetime) -> None:
    _SETTLE_RECIPIENT.run(connection, [row for done in dones for row in recipient_rows(done, now)])
    _remove_bodies(connection, [done for done in dones if done.message.sensitive])


def outcome_row(done: Done, now: datetime) -> dict[str, object]:
    """Return what is written of the message."""
    message, decision, report = done.message, done.decision, done.report
    reply = report.reply
    return {
        **progress_row(done),
        "message": message.id,
        "token": message.lease_token,
        "status": decision.status,
        "finished_at": now if decision.status in FINAL else None,
        "last_stage": report.stage.value,
        "last_code": reply.code if reply else None,
        "last_enhanced": reply.enhanced if reply else None,
        "last_reply": str(reply)[:MAX_REPLY] if reply else None,
        "reason": decision.reason[:MAX_REPLY],
    }


def progress_row(done: Done) -> dict[str, object]:
    """Return how far the message has come, whatever way it is written."""
    return {
        "due_at": done.decision.due_at,
        "attempts_count": done.message.attempts_count + int(done.decision.counted),
        "last_attempt_at": done.started_at,
    }


def _was_written(connection: Runs, done: Done) -> bool:
    """Tell whether this very outcome is there already, from a commit whose answer got lost.

    Whatever has happened to the message since, the attempt is there then, with what was said.
    """
    message = done.message
    values = {"message": message.id, "token": message.lease_token}
    row = _ENDED.first(connection, values)
    return row is not None and row[0] is not None and row[1] != _lost(done.decision)


_OURS = (
    Attempt.message_id == sa.bindparam("message", type_=Attempt.message_id.type),
    Attempt.lease_token == sa.bindparam("token", type_=Attempt.lease_token.type),
)
_ENDED = Bulk(sa.select(Attempt.stage, Attempt.reason).where(*_OURS))

END = (
    *("status", "counted", "finished_at", "milliseconds", "stage", "smtp_code"),
    *("enhanced_code", "reply", "reason", "advice", "tls", "dialogue"),
)
"""Columns of an attempt that are known when it has ended."""


def _end(connection: Runs, rows: Sequence[dict[str, object]]) -> None:
    """Have marks of ours become attempts."""
    _END.run(connection, rows)
    _UNMARK.run(connection, rows)


def _end_late(connection: Runs, row: dict[str, object]) -> None:
    """Write what came of an attempt whose lease was lost: into what a sweep has said of it, if any."""
    if not _MEND.run(connection, [row]):
        _end(connection, [row])


_END = Bulk(
    sa.insert(Attempt).from_select(
        ("message_id", "connection_id", *BEGUN, *END),
        sa.select(
            Flight.message_id,
            Flight.connection_id,
            *(getattr(Flight, name) for name in BEGUN),
            *(sa.bindparam(name, type_=getattr(Attempt, name).type) for name in END),
        ).where(*_MARK),
        include_defaults=False,
    )
)
# Not the time at which it ended, which rises with the number.
_MEND = Bulk(
    sa.update(Attempt)
    .where(*_OURS)
    .values({name: sa.bindparam(name) for name in END if name != "finished_at"})
)


def end_unknown(connection: Runs, message: int, token: str, reason: str, now: datetime) -> None:
    """Have a mark that a worker left behind become an attempt of which nobody knows the outcome.

    It has no stage, which tells it from all others.
    """
    row: dict[str, object] = dict.fromkeys(END)
    row |= {"message": message, "token": token, "finished_at": now, "reason": reason}
    _end(connection, [{**row, "status": AttemptStatus.FAIL, "counted": False}])


def end_row(done: Done, now: datetime, *, mine: bool) -> dict[str, object]:
    """Return what is written of the attempt; ``mine``: the message was ours to the end."""
    decision, report = done.decision, done.report
    reply = report.reply
    return {
        "message": done.message.id,
        "token": done.message.lease_token,
        "status": AttemptStatus.SUCCESS if decision.accepted else AttemptStatus.FAIL,
        "counted": decision.counted,
        "finished_at": now,
        "milliseconds": round(report.seconds * 1000),
        "stage": report.stage.value,
        "smtp_code": reply.code if reply else None,
        "enhanced_code": reply.enhanced if reply else None,
        "reply": str(reply)[:MAX_REPLY] if reply else None,
        "reason": (decision.reason if mine else _lost(decision))[:MAX_REPLY],
        "advice": decision.verdict.advice or None,
        "tls": f"{report.tls.version}, {report.tls.cipher}" if report.tls else None,
        "dialogue": dialogue_text(report.dialogue),
    }


def _lost(decision: Decision) -> str:
    if decision.accepted:
        return "Accepted by the server, after another worker had taken the message over."
    return "Another worker had taken the message over."


_SETTLE_RECIPIENT = Bulk(
    sa.update(Recipient)
    .where(Recipient.id == sa.bindparam("recipient"))
    .values(
        {
            name: sa.bindparam(name)
            for name in ("status", "smtp_code", "enhanced_code", "reply", "finished_at")
        }
    )
)


def recipient_rows(done: Done, now: datetime) -> list[dict[str, object]]:
    """Return what is written of the recipients."""
    return [
        {
            "recipient": outcome.id,
            "status": outcome.status,
            "smtp_code": outcome.smtp_code,
            "enhanced_code": outcome.enhanced_code,
            "reply": outcome.reply[:MAX_REPLY] if outcome.reply else None,
            "finished_at": None if outcome.status is RecipientStatus.PENDING else now,
        }
        for outcome in done.decision.recipients
    ]


_REMOVE_BODY = Bulk(
    sa.delete(MessageBody).where(
        MessageBody.message_id == sa.bindparam("message", type_=MessageBody.message_id.type)
    )
)


def _remove_bodies(connection: Runs, sensitive: Iterable[Done]) -> None:
    final = [done.message.id for done in sensitive if done.decision.status in FINAL]
    _REMOVE_BODY.run(connection, [{"message": number} for number in final])


def dialogue_text(lines: Iterable[Line]) -> str:
    """Return the lines as they are stored: milliseconds, direction and text, parted by tabs."""
    text = "\n".join(f"{line.at_ms}\t{line.direction}\t{line.text}" for line in lines)
    return text.encode("utf-8")[:MAX_DIALOGUE].decode("utf-8", "ignore")
