"""What a reply at a stage means: both in, verdict out.

Owns how the table of :mod:`flask_smtp_admin.smtp.rules` is applied. Pure: it must not know sockets,
settings or messages.
"""

from __future__ import annotations

from dataclasses import replace

from flask_smtp_admin.smtp.reply import Outcome, Reply, Scope, Stage, Verdict
from flask_smtp_admin.smtp.rules import RULES, Rule

_SCOPES = {Stage.RCPT: Scope.RECIPIENT, Stage.DATA: Scope.MESSAGE, Stage.BODY: Scope.MESSAGE}

_ACCEPTED_SUMMARIES = {
    Stage.RCPT: "The server accepts this recipient.",
    Stage.BODY: "The server accepted the message.",
}

_ACCEPTED = {
    stage: Verdict(
        Outcome.ACCEPTED,
        _SCOPES.get(stage, Scope.CONNECTION),
        stage,
        _ACCEPTED_SUMMARIES.get(stage, f"The server agrees ({stage.label})."),
    )
    for stage in Stage
}

# The class of reply that each stage goes on with (RFC 5321 section 4.3.2).
_EXPECTED_DIGIT = {Stage.DATA: 3}


def judge(stage: Stage, reply: Reply) -> Verdict:
    """What *reply* at *stage* means.

    The first digit decides between accepted, temporary and permanent (RFC 5321 section 4.2.1);
    the enhanced code (RFC 3463) and, last, the words refine whom it is about.
    """
    digit = reply.first_digit
    if digit == _EXPECTED_DIGIT.get(stage, 2):
        return _ACCEPTED[stage]
    if digit not in {4, 5}:
        return _out_of_place(stage)
    for rule in RULES:
        if rule.matches(stage, reply):
            return _apply(rule, stage, reply)
    return _by_digit(stage, reply)


def _apply(rule: Rule, stage: Stage, reply: Reply) -> Verdict:
    return replace(
        _by_digit(stage, reply, scope=rule.scope, outcome=rule.outcome),
        summary=rule.summary,
        advice=rule.advice,
        quota=rule.quota,
        opens_breaker=rule.opens_breaker,
        next_transaction=rule.next_transaction,
        reconnect=rule.reconnect or reply.code == 421,
    )


def _by_digit(
    stage: Stage, reply: Reply, *, scope: Scope | None = None, outcome: Outcome | None = None
) -> Verdict:
    by_digit = Outcome.TEMPORARY if reply.first_digit == 4 else Outcome.PERMANENT
    manner = "cannot go on just now" if by_digit is Outcome.TEMPORARY else "refuses to go on"
    return Verdict(
        outcome or by_digit,
        scope or _SCOPES.get(stage, Scope.CONNECTION),
        stage,
        f"The server {manner} ({stage.label}).",
    )


def _out_of_place(stage: Stage) -> Verdict:
    # To go on after a reply that has no meaning here would be guessing; after the dot it leaves
    # open whether the message was taken.
    at_body = stage is Stage.BODY
    return Verdict(
        Outcome.TEMPORARY,
        Scope.MESSAGE if at_body else Scope.CONNECTION,
        stage,
        f"The server's reply has no meaning at this point ({stage.label}).",
        "Check that host and port are those of a mail server.",
        uncertain=at_body,
        reconnect=True,
    )
