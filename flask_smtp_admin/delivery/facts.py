"""The events that delivery tells the host.

Owns the step from a decision to the events. Must not know who listens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from ..models import FINAL, RecipientStatus, Status
from ..signals import Event
from .breaker import Trouble
from .claim import Claimed
from .decide import Decision, RecipientOutcome
from .record import Carrier, Report

logger = logging.getLogger(__name__)


def log(event: Event) -> None:
    """Write into the worker's log that a connection failed or works again; of messages, nothing.

    Whoever looks there first would find a worker that has started and does nothing.
    """
    if event.code == "connection_failed":
        logger.warning(
            "The connection %r cannot be used (%s). Its messages wait; it is tried again at %s.",
            event.connection,
            " ".join((event.reply or "").split()),
            event.next_attempt_at,
        )
    elif event.code == "connection_recovered":
        logger.warning("The connection %r works again.", event.connection)


def of_attempt(
    message: Claimed,
    carrier: Carrier,
    decision: Decision,
    report: Report,
    *,
    now: datetime,
    max_attempts: int,
) -> Iterator[Event]:
    """Yield what a finished attempt means to the host."""

    def event(code: str, recipient: str, outcome: RecipientOutcome | None, *, final: bool) -> Event:
        reply = report.reply
        return Event(
            code=code,
            occurred_at=now,
            message_id=message.id,
            recipient=recipient,
            sender=message.sender,
            subject=message.subject,
            stage=report.stage.value,
            smtp_code=outcome.smtp_code if outcome else (reply.code if reply else None),
            enhanced_code=outcome.enhanced_code if outcome else (reply.enhanced if reply else None),
            reply=outcome.reply if outcome else (str(reply) if reply else decision.reason),
            attempt=message.attempts_count + 1,
            max_attempts=max_attempts,
            next_attempt_at=None if final else decision.due_at,
            final=final,
            **_server(carrier),
        )

    ended = decision.status in FINAL
    if not decision.recipients:
        yield event("delivery_failed", message.recipients[0].address, None, final=ended)
    for outcome in _differing(decision.recipients):
        if outcome.status is RecipientStatus.SENT:
            yield event("message_sent", outcome.address, outcome, final=ended)
        else:
            lost = outcome.status is RecipientStatus.FAILED
            yield event("delivery_failed", outcome.address, outcome, final=lost)
    for outcome in decision.given_up:
        yield event("final_delivery_failed", outcome.address, outcome, final=True)


def is_plain_success(decision: Decision) -> bool:
    """Tell whether nothing but ``message_sent`` comes of it."""
    return decision.status is Status.SENT and not decision.given_up


def _differing(outcomes: Iterable[RecipientOutcome]) -> list[RecipientOutcome]:
    """Return the first recipient of each different outcome."""
    first: dict[tuple[object, ...], RecipientOutcome] = {}
    for outcome in outcomes:
        first.setdefault((outcome.status, outcome.smtp_code, outcome.reply), outcome)
    return list(first.values())


def of_connection(
    code: str,
    carrier: Carrier,
    trouble: Trouble | None,
    *,
    now: datetime,
    retry_at: datetime | None,
) -> Event:
    """Return the event of a connection that failed or recovered."""
    reply = trouble.reply if trouble else None
    return Event(
        code=code,
        occurred_at=now,
        stage=trouble.stage if trouble else None,
        smtp_code=reply.code if reply else None,
        enhanced_code=reply.enhanced if reply else None,
        reply=(str(reply) if reply else trouble.reason) if trouble else None,
        next_attempt_at=retry_at,
        **_server(carrier),
    )


def _server(carrier: Carrier) -> dict[str, Any]:
    endpoint = carrier.endpoint
    return {
        "connection": carrier.caption,
        "host": endpoint.host,
        "port": endpoint.port,
        "ssl": endpoint.encryption != "none",
        "requires_auth": endpoint.use_auth,
    }
