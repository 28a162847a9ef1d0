"""What an SMTP transaction means for the message: pure, decided once.

Owns the step from the verdicts of the protocol to the message's next state. Must not know the
database; the clock and chance are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .. import retry
from ..models import RecipientStatus, Status
from ..smtp import Outcome, RecipientResult, Scope, Stage, Transaction, Verdict
from .claim import Claimed, ClaimedRecipient


@dataclass(slots=True)
class RecipientOutcome:
    """What is written for one recipient."""

    id: int
    address: str
    status: RecipientStatus
    smtp_code: int | None
    enhanced_code: str | None
    reply: str | None


@dataclass(slots=True)
class Decision:
    """What is written for the message, its recipients and the attempt.

    ``due_at`` is ``None`` where the due time stays as it is. ``counted`` tells whether the attempt
    spends one of the message's tries; ``blames`` is the verdict that the connection's breaker must
    hear of, if there is one.
    """

    status: Status
    due_at: datetime | None
    counted: bool
    accepted: bool
    blames: Verdict | None
    verdict: Verdict
    reason: str
    recipients: tuple[RecipientOutcome, ...]
    given_up: tuple[RecipientOutcome, ...]
    """Those for whom nothing more will be tried."""


MESSAGE_STAGES = (Stage.RCPT, Stage.DATA, Stage.BODY)
STEP_BACK = timedelta(minutes=2)
"""How long a message lets others go first, when the server spoke of the connection at its MAIL."""


def decide(
    message: Claimed, transaction: Transaction, *, now: datetime, chance: float, max_attempts: int
) -> Decision:
    """Say what follows from a transaction.

    :param chance: a random number from 0 to 1, for the jitter of the retry.
    :param max_attempts: tries after which the message is given up.
    """
    verdict = transaction.verdict
    if transaction.abandoned:
        return _unspent(transaction, "The worker lost its claim before the message left.")
    if verdict.scope is Scope.CONNECTION and not _message_may_be_the_cause(transaction):
        # Should it be this message's sender after all, another one is there to prove it.
        steps_back = transaction.stage is Stage.MAIL and transaction.reply is not None
        return _unspent(transaction, verdict.summary, now + STEP_BACK if steps_back else None)
    attempt = message.attempts_count + 1
    if verdict.uncertain and message.at_most_once:
        return Decision(
            status=Status.HELD,
            due_at=None,
            counted=True,
            accepted=False,
            blames=_blamed(transaction),
            verdict=verdict,
            reason="The whole message had been handed over, and no usable answer came back. It may "
            "have arrived; it is held because it must not be sent twice. Look into the server's log or "
            "ask the recipient; then release or delete it.",
            recipients=(),
            given_up=(),
        )
    at_once = _only_another_transaction(transaction)
    last = attempt >= max_attempts and not at_once
    outcomes = tuple(
        _recipient(recipient, result, last)
        for recipient, result in zip(message.recipients, transaction.recipients, strict=True)
    )
    pending = any(outcome.status is RecipientStatus.PENDING for outcome in outcomes)
    if pending:
        status = Status.QUEUED
        due_at = now if at_once else retry.next_attempt(now, attempt, chance)
    else:
        status, due_at = _final_status(message, outcomes), None
    return Decision(
        status=status,
        due_at=due_at,
        counted=not at_once,
        accepted=transaction.accepted,
        blames=_blamed(transaction),
        verdict=verdict,
        reason=_reason(transaction, outcomes, status, attempt),
        recipients=outcomes,
        given_up=tuple(o for o in outcomes if o.status is RecipientStatus.FAILED),
    )


def _message_may_be_the_cause(transaction: Transaction) -> bool:
    """Tell whether the session ended while this message was on it, by a hang-up or a 421.

    Then the message itself may be what the server, or a filter on the way, chokes on; if it spent
    nothing it would come first again and again, and stand in the way of all others.
    """
    verdict = transaction.verdict
    return (
        transaction.stage in MESSAGE_STAGES
        and verdict.outcome is Outcome.TEMPORARY
        and not verdict.quota
        and not verdict.opens_breaker
    )


def _blamed(transaction: Transaction) -> Verdict | None:
    """Return the verdict that speaks of the connection: the message's, or a recipient's quota."""
    verdict = transaction.verdict
    # A driver's exception says nothing of the link: there is none that broke.
    if verdict.scope is Scope.CONNECTION or (verdict.uncertain and verdict.reconnect):
        return verdict
    quotas = (result.verdict for result in transaction.recipients if result.verdict.quota)
    return next(quotas, None)


def _unspent(transaction: Transaction, reason: str, due_at: datetime | None = None) -> Decision:
    return Decision(
        status=Status.QUEUED,
        due_at=due_at,
        counted=False,
        accepted=False,
        blames=None if transaction.abandoned else transaction.verdict,
        verdict=transaction.verdict,
        reason=reason,
        recipients=(),
        given_up=(),
    )


def _only_another_transaction(transaction: Transaction) -> bool:
    """Tell whether the rest was put off for its number alone ("too many recipients")."""
    put_off = [
        result for result in transaction.recipients if result.verdict.outcome is Outcome.TEMPORARY
    ]
    return (
        transaction.accepted
        and bool(put_off)
        and all(result.verdict.next_transaction for result in put_off)
    )


def _recipient(
    recipient: ClaimedRecipient, result: RecipientResult, last: bool
) -> RecipientOutcome:
    outcome = result.verdict.outcome
    if outcome is Outcome.ACCEPTED:
        status = RecipientStatus.SENT
    elif outcome is Outcome.PERMANENT or last:
        status = RecipientStatus.FAILED
    else:
        status = RecipientStatus.PENDING
    reply = result.reply
    return RecipientOutcome(
        id=recipient.id,
        address=recipient.address,
        status=status,
        smtp_code=reply.code if reply else None,
        enhanced_code=reply.enhanced if reply else None,
        reply=str(reply) if reply else result.verdict.summary,
    )


def _final_status(message: Claimed, outcomes: tuple[RecipientOutcome, ...]) -> Status:
    sent = message.sent_before + sum(o.status is RecipientStatus.SENT for o in outcomes)
    failed = message.failed_before + sum(o.status is RecipientStatus.FAILED for o in outcomes)
    if not failed:
        return Status.SENT
    return Status.PARTIAL if sent else Status.FAILED


def _reason(
    transaction: Transaction,
    outcomes: tuple[RecipientOutcome, ...],
    status: Status,
    attempt: int,
) -> str:
    if transaction.accepted:
        accepted = sum(o.status is RecipientStatus.SENT for o in outcomes)
        if accepted == len(outcomes):
            return "Accepted by the server."
        others = next(o for o in outcomes if o.status is not RecipientStatus.SENT)
        return (
            f"Accepted for {accepted} of {len(outcomes)} recipients; "
            f"{others.address}: {others.reply}"
        )
    summary = transaction.verdict.summary
    if status is Status.FAILED and transaction.verdict.outcome is Outcome.TEMPORARY:
        return f"Given up after {attempt} tries. {summary}"
    return summary
