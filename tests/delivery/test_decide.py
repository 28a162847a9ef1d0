"""What a transaction means for the message: every combination obeys the table of states."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flask_smtp_admin.delivery.claim import Claimed, ClaimedRecipient
from flask_smtp_admin.delivery.decide import MESSAGE_STAGES, Decision, decide
from flask_smtp_admin.models import FINAL, TRANSITIONS, RecipientStatus, Status
from flask_smtp_admin.smtp import (
    Outcome,
    RecipientResult,
    Reply,
    Scope,
    Stage,
    Transaction,
    Verdict,
    judge,
)

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)


def claimed(count: int = 1, **fields: Any) -> Claimed:
    values: dict[str, Any] = {
        "id": 1,
        "lease_token": "token",
        "message_id": "<1@example.org>",
        "sender": "shop@example.org",
        "subject": "Your order",
        "subject_key": "your order",
        "smtputf8": False,
        "eight_bit": False,
        "sensitive": False,
        "at_most_once": False,
        "attempts_count": 0,
        "crash_count": 0,
        "max_attempts": None,
        "priority": 5,
        "size": 10,
        "recipients": tuple(ClaimedRecipient(n, f"r{n}@example.org") for n in range(count)),
        "sent_before": 0,
        "failed_before": 0,
        "body": b"x",
    }
    return Claimed(**{**values, **fields})


def transaction(message: Claimed, verdict: Verdict, *others: Verdict, **fields: Any) -> Transaction:
    verdicts = [*others, *[verdict] * len(message.recipients)][: len(message.recipients)]
    results = tuple(
        RecipientResult(recipient.address, each, fields.get("reply"))
        for recipient, each in zip(message.recipients, verdicts, strict=True)
    )
    values: dict[str, Any] = {
        "stage": verdict.stage,
        "reply": None,
        "verdict": verdict,
        "recipients": results,
        "accepted": any(result.accepted for result in results),
        "usable": True,
        "started": 0.0,
        "seconds": 0.0,
    }
    return Transaction(**{**values, **fields})


def decided(message: Claimed, what: Transaction, max_attempts: int = 9) -> Decision:
    return decide(message, what, now=NOW, chance=0.5, max_attempts=max_attempts)


# ---------------------------------------------------------------- whatever a server does

codes = st.sampled_from(
    [250, 251, 354, 421, 432, 450, 451, 452, 454, 500, 530, 535, 550, 552, 553, 554]
)
words = st.sampled_from(
    ["", "4.7.1 greylisted", "4.5.3 too many recipients", "5.4.5 daily quota exceeded", "5.1.1 no"]
)
stages = st.sampled_from([Stage.CONNECT, Stage.AUTH, Stage.MAIL, *MESSAGE_STAGES])


@st.composite
def transactions(draw: st.DrawFn) -> tuple[Claimed, Transaction, int]:
    message = claimed(
        draw(st.integers(1, 4)),
        at_most_once=draw(st.booleans()),
        attempts_count=draw(st.integers(0, 4)),
        sent_before=draw(st.integers(0, 2)),
        failed_before=draw(st.integers(0, 2)),
    )
    reply = Reply(draw(codes), (draw(words),))
    overall = judge(draw(stages), reply)
    if overall.outcome is Outcome.TEMPORARY and draw(st.booleans()):
        overall = Verdict(
            Outcome.TEMPORARY, Scope.MESSAGE, Stage.BODY, "gone", uncertain=True, reconnect=True
        )
    refusals = [
        verdict
        for verdict in (
            judge(Stage.RCPT, Reply(draw(codes), (draw(words),))) for _ in message.recipients
        )
        if not verdict.accepted
    ]
    abandoned = draw(st.booleans()) and not overall.accepted
    what = transaction(message, overall, *refusals, reply=reply, abandoned=abandoned)
    return message, what, draw(st.integers(1, 5))


@given(transactions())
def test_every_decision_obeys_the_table_of_states(case: tuple[Claimed, Transaction, int]) -> None:
    message, what, most = case
    decision = decided(message, what, most)

    assert decision.status in TRANSITIONS[Status.SENDING]
    assert decision.reason
    for result, outcome in zip(what.recipients, decision.recipients, strict=False):
        assert result.address == outcome.address
        assert (outcome.status is RecipientStatus.SENT) == result.accepted
    pending = [o for o in decision.recipients if o.status is RecipientStatus.PENDING]
    if decision.recipients:
        assert (decision.status is Status.QUEUED) == bool(pending)
        assert decision.given_up == tuple(
            o for o in decision.recipients if o.status is RecipientStatus.FAILED
        )
    else:
        assert decision.status in {Status.QUEUED, Status.HELD}, "nobody was given up"
    if decision.status in FINAL:
        assert decision.counted


@given(transactions())
def test_tries_end_and_only_those_that_are_spent_are_delayed(
    case: tuple[Claimed, Transaction, int],
) -> None:
    message, what, most = case
    decision = decided(message, what, most)

    if decision.counted and decision.status is Status.QUEUED:
        assert message.attempts_count + 1 < most
        assert decision.due_at is not None
        assert decision.due_at > NOW
    if not decision.counted and decision.recipients:
        assert decision.accepted, "only what goes on at once costs nothing"
        assert decision.due_at == NOW


@given(transactions())
def test_what_may_have_arrived_is_never_sent_again_by_itself_when_asked_not_to(
    case: tuple[Claimed, Transaction, int],
) -> None:
    message, what, most = case
    decision = decided(message, what, most)

    if message.at_most_once and what.verdict.uncertain and not what.abandoned:
        assert decision.status is Status.HELD


# ---------------------------------------------------------------- single cases


def test_a_refused_login_spends_no_try_and_moves_no_due_time() -> None:
    message = claimed()
    reply = Reply(535, ("5.7.8 wrong password",))
    decision = decided(message, transaction(message, judge(Stage.AUTH, reply), reply=reply))

    assert (decision.status, decision.counted, decision.due_at) == (Status.QUEUED, False, None)
    assert decision.blames is not None
    assert decision.blames.opens_breaker


def test_a_quota_for_one_recipient_pauses_the_connection_though_others_were_accepted() -> None:
    message = claimed(2)
    quota = judge(Stage.RCPT, Reply(452, ("4.7.0 rate limit exceeded",)))
    assert quota.quota
    accepted = judge(Stage.BODY, Reply(250, ("ok",)))
    decision = decided(message, transaction(message, accepted, quota))

    assert decision.blames is quota
    assert decision.status is Status.QUEUED


def test_a_claim_that_was_lost_before_the_dot_costs_nobody_anything() -> None:
    message = claimed()
    verdict = Verdict(Outcome.TEMPORARY, Scope.CONNECTION, Stage.BODY, "given up")
    decision = decided(message, transaction(message, verdict, abandoned=True))

    assert (decision.status, decision.counted, decision.blames) == (Status.QUEUED, False, None)


def test_a_message_that_some_had_before_ends_as_partly_delivered() -> None:
    message = claimed(1, sent_before=2)
    reply = Reply(550, ("5.1.1 no",))
    decision = decided(message, transaction(message, judge(Stage.RCPT, reply), reply=reply))

    assert decision.status is Status.PARTIAL


def test_greylisting_waits_for_the_table() -> None:
    message = claimed(attempts_count=1)
    reply = Reply(451, ("4.7.1 greylisted",))
    decision = decided(message, transaction(message, judge(Stage.RCPT, reply), reply=reply))

    assert decision.due_at == NOW + timedelta(minutes=5)
    assert decision.blames is None
