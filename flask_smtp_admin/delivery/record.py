"""Writing down what is being tried and what came of it.

Owns the rows of an attempt and the outcome on message and recipients, all in the transaction that
it is handed. Must not know sockets, and decides nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..models import (
    Attempt,
    AttemptStatus,
    Connection,
    Message,
    MessageBody,
    Recipient,
    RecipientStatus,
    Status,
)
from ..models.states import FINAL
from ..models.transition import move
from ..outbox import inserted_id
from ..smtp import Endpoint, Line, Reply, Stage, TlsFacts
from .claim import Claimed
from .decide import Decision, RecipientOutcome
from .limits import Limits

MAX_REPLY = 4_000
RECIPIENTS_A_STATEMENT = 500
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

    def is_current(self, connection: sa.Connection) -> bool:
        """Tell whether the connection is still enabled and as it was."""
        return bool(
            connection.execute(
                sa.select(sa.literal(1)).where(
                    Connection.id == self.id,
                    Connection.enabled,
                    Connection.updated_at == self.updated_at,
                )
            ).scalar()
        )


@dataclass(frozen=True)
class Report:
    """What the session has to say of an attempt besides its outcome."""

    stage: Stage
    reply: Reply | None
    seconds: float
    dialogue: tuple[Line, ...]
    tls: TlsFacts | None


def begin(
    connection: sa.Connection,
    message: Claimed,
    carrier: Carrier,
    *,
    worker: str,
    now: datetime,
    lease_until: datetime,
) -> int | None:
    """Mark a message as in flight, and return the number of its attempt.

    ``None``: the lease is lost; somebody else has the message now and it must not be sent here.
    """
    mine = connection.execute(
        sa.update(Message)
        .where(
            Message.id == message.id,
            Message.status == Status.SENDING,
            Message.lease_token == message.lease_token,
        )
        .values(
            last_attempt_at=now,
            # Never shorter: the heartbeat may have renewed it while this waited for the database.
            lease_until=sa.case(
                (Message.lease_until > lease_until, Message.lease_until), else_=lease_until
            ),
        )
        .execution_options(synchronize_session=False)
    ).rowcount
    if not mine:
        return None
    endpoint = carrier.endpoint
    result = connection.execute(
        sa.insert(Attempt).values(
            message_id=message.id,
            # Empty when the connection has been deleted meanwhile.
            connection_id=sa.select(Connection.id)
            .where(Connection.id == carrier.id)
            .scalar_subquery(),
            connection=carrier.caption,
            host=endpoint.host,
            port=endpoint.port,
            encryption=endpoint.encryption,
            use_auth=endpoint.use_auth,
            number=message.attempts_count + 1,
            counted=False,
            sender=message.sender,
            recipient=message.recipients[0].address.lower(),
            recipient_count=len(message.recipients),
            subject=message.subject,
            subject_key=message.subject_key,
            status=AttemptStatus.IN_PROGRESS,
            started_at=now,
            worker=worker,
        )
    )
    return inserted_id(result)


def forget(connection: sa.Connection, message: Claimed) -> None:
    """Remove the attempts of a message that were begun, by a commit whose answer got lost.

    To be called before the message is offered: nothing has been sent yet.
    """
    connection.execute(
        sa.delete(Attempt).where(
            Attempt.message_id == message.id, Attempt.status == AttemptStatus.IN_PROGRESS
        )
    )


def finish(
    connection: sa.Connection,
    message: Claimed,
    attempt_id: int,
    decision: Decision,
    report: Report,
    now: datetime,
) -> bool:
    """Write the outcome. ``False``: the lease was lost meanwhile; the log says so, no more."""
    mine = _write_message(connection, message, decision, report, now) or _was_written(
        connection, message, decision
    )
    reason = decision.reason if mine else _lost(decision)
    connection.execute(
        sa.update(Attempt)
        .where(Attempt.id == attempt_id)
        .values(
            status=AttemptStatus.SUCCESS if decision.accepted else AttemptStatus.FAIL,
            counted=decision.counted,
            finished_at=now,
            milliseconds=round(report.seconds * 1000),
            stage=report.stage.value,
            smtp_code=report.reply.code if report.reply else None,
            enhanced_code=report.reply.enhanced if report.reply else None,
            reply=str(report.reply)[:MAX_REPLY] if report.reply else None,
            reason=reason[:MAX_REPLY],
            advice=decision.verdict.advice or None,
            tls=f"{report.tls.version}, {report.tls.cipher}" if report.tls else None,
            dialogue=dialogue_text(report.dialogue),
        )
    )
    if mine:
        _write_recipients(connection, decision, now)
        if message.sensitive and decision.status in FINAL:
            connection.execute(sa.delete(MessageBody).where(MessageBody.message_id == message.id))
    return mine


def _lost(decision: Decision) -> str:
    if decision.accepted:
        return "Accepted by the server, after another worker had taken the message over."
    return "Another worker had taken the message over."


def _write_message(
    connection: sa.Connection,
    message: Claimed,
    decision: Decision,
    report: Report,
    now: datetime,
) -> bool:
    values: dict[str, object] = {
        "lease_until": None,
        "attempts_count": message.attempts_count + int(decision.counted),
        "last_stage": report.stage.value,
        "last_code": report.reply.code if report.reply else None,
        "last_enhanced": report.reply.enhanced if report.reply else None,
        "last_reply": str(report.reply)[:MAX_REPLY] if report.reply else None,
        "reason": decision.reason[:MAX_REPLY],
    }
    if decision.due_at is not None:
        values["due_at"] = decision.due_at
    if decision.status in FINAL:
        values["finished_at"] = now
    return bool(
        move(
            connection,
            decision.status,
            Message.id == message.id,
            Message.lease_token == message.lease_token,
            from_={Status.SENDING},
            values=values,
        )
    )


def _was_written(connection: sa.Connection, message: Claimed, decision: Decision) -> bool:
    """Tell whether this very outcome is there already, from a commit whose answer got lost.

    Whoever takes a message over, worker or person, leaves another token in it.
    """
    return bool(
        connection.execute(
            sa.select(sa.literal(1)).where(
                Message.id == message.id,
                Message.lease_token == message.lease_token,
                Message.status == decision.status,
            )
        ).scalar()
    )


def _write_recipients(connection: sa.Connection, decision: Decision, now: datetime) -> None:
    """Write the outcomes, one statement for all recipients that share one."""
    alike: dict[tuple[object, ...], list[RecipientOutcome]] = defaultdict(list)
    for outcome in decision.recipients:
        alike[outcome.status, outcome.smtp_code, outcome.reply].append(outcome)
    for outcomes in alike.values():
        _write_alike(connection, outcomes, now)


def _write_alike(
    connection: sa.Connection, outcomes: list[RecipientOutcome], now: datetime
) -> None:
    first = outcomes[0]
    settled = first.status is not RecipientStatus.PENDING
    for start in range(0, len(outcomes), RECIPIENTS_A_STATEMENT):
        some = outcomes[start : start + RECIPIENTS_A_STATEMENT]
        connection.execute(
            sa.update(Recipient)
            .where(Recipient.id.in_([outcome.id for outcome in some]))
            .values(
                status=first.status,
                smtp_code=first.smtp_code,
                enhanced_code=first.enhanced_code,
                reply=first.reply[:MAX_REPLY] if first.reply else None,
                finished_at=now if settled else None,
            )
        )


def dialogue_text(lines: Iterable[Line]) -> str:
    """Return the lines as they are stored: milliseconds, direction and text, parted by tabs."""
    text = "\n".join(f"{line.at_ms}\t{line.direction}\t{line.text}" for line in lines)
    return text.encode("utf-8")[:MAX_DIALOGUE].decode("utf-8", "ignore")
