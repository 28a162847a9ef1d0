"""The table of verdicts: who pays for a reply, and whether it is worth another try."""

from __future__ import annotations

from typing import Any

import pytest

from flask_smtp_admin.smtp import (
    Failure,
    Outcome,
    Reply,
    Scope,
    Stage,
    Verdict,
    judge,
    judge_failure,
)

T, P, A = Outcome.TEMPORARY, Outcome.PERMANENT, Outcome.ACCEPTED
C, R, M = Scope.CONNECTION, Scope.RECIPIENT, Scope.MESSAGE
FLAGS = ("quota", "opens_breaker", "uncertain", "reconnect", "next_transaction")

ROWS: list[tuple[Stage, str, Outcome, Scope, set[str]]] = [
    # acceptance: any 2xx, 354 for DATA
    (Stage.RCPT, "251 2.1.5 will forward", A, R, set()),
    (Stage.RCPT, "252 cannot verify", A, R, set()),
    (Stage.BODY, "251 fine", A, M, set()),
    (Stage.BODY, "299 odd but fine", A, M, set()),
    (Stage.DATA, "354 go", A, M, set()),
    # no meaning here
    (Stage.DATA, "250 what", T, C, {"reconnect"}),
    (Stage.BODY, "354 again", T, M, {"uncertain", "reconnect"}),
    # the session's end
    (Stage.GREETING, "421 4.3.2 busy", T, C, {"reconnect"}),
    (Stage.MAIL, "421 idle", T, C, {"reconnect"}),
    (Stage.RCPT, "421 4.7.0 bye", T, C, {"reconnect"}),
    (Stage.BODY, "421 4.3.0 bye", T, C, {"reconnect"}),
    (Stage.MAIL, "421 4.7.28 unusual rate of mail", T, C, {"reconnect", "quota"}),
    # before a transaction
    (Stage.GREETING, "554 5.7.1 blocked", P, C, set()),
    (Stage.EHLO, "550 no", P, C, set()),
    (Stage.TLS, "454 4.7.0 not now", T, C, set()),
    (Stage.AUTH, "454 4.7.0 temporary failure", T, C, set()),
    (Stage.AUTH, "454 4.7.0 Too many login attempts, slow down", T, C, {"quota"}),
    (Stage.AUTH, "535 5.7.8 bad", P, C, {"opens_breaker"}),
    (Stage.AUTH, "534 5.7.9 app password", P, C, {"opens_breaker"}),
    (Stage.AUTH, "530 5.7.0 first", P, C, {"opens_breaker"}),
    (Stage.AUTH, "504 5.5.4 mechanism", P, C, set()),
    # MAIL: the connection, except what speaks of the message
    (Stage.MAIL, "530 5.7.0 Authentication required", P, C, {"opens_breaker"}),
    (Stage.MAIL, "550 5.7.1 Client was not authenticated", P, C, {"opens_breaker"}),
    (Stage.MAIL, "451 4.3.0 disk", T, C, set()),
    (Stage.MAIL, "452 4.3.1 storage", T, C, set()),
    (Stage.MAIL, "550 go away", P, C, set()),
    (Stage.MAIL, "552 5.3.4 too big", P, M, set()),
    (Stage.MAIL, "552 too big", P, M, set()),
    (Stage.MAIL, "550 5.1.8 bad sender", P, M, set()),
    (Stage.MAIL, "553 no", P, M, set()),
    (Stage.MAIL, "550 5.7.1 not yours", P, M, set()),
    (Stage.MAIL, "550 sender address rejected", P, M, set()),
    (Stage.MAIL, "501 syntax", P, M, set()),
    (Stage.MAIL, "555 parameters", P, M, set()),
    (Stage.MAIL, "550 5.6.7 SMTPUTF8", P, M, set()),
    (Stage.MAIL, "450 4.1.8 domain not found", T, M, set()),
    # quotas
    (Stage.BODY, "550 5.4.5 Daily user sending limit exceeded", T, C, {"quota"}),
    (Stage.MAIL, "454 4.7.0 x", T, C, {"quota"}),
    (Stage.RCPT, "432 4.3.2 Concurrent connections limit exceeded", T, C, {"quota"}),
    (Stage.MAIL, "452 4.2.1 later", T, C, {"quota"}),
    (Stage.RCPT, "450 4.7.1 too many messages, slow down", T, C, {"quota"}),
    (Stage.BODY, "454 Throttling failure: Daily message quota exceeded.", T, C, {"quota"}),
    # RCPT
    (Stage.RCPT, "452 4.5.3 too many recipients", T, R, {"next_transaction"}),
    (Stage.RCPT, "552 too many recipients", T, R, {"next_transaction"}),
    (Stage.RCPT, "452 4.2.2 mailbox full", T, R, set()),
    (Stage.RCPT, "552 5.2.2 over quota", P, R, set()),
    (Stage.RCPT, "552 user quota exceeded", P, R, set()),
    (Stage.RCPT, "451 4.7.1 greylisted", T, R, set()),
    (Stage.RCPT, "550 5.1.1 unknown", P, R, set()),
    (Stage.RCPT, "550 no", P, R, set()),
    (Stage.RCPT, "450 later", T, R, set()),
    (Stage.RCPT, "554 5.7.1 relay access denied", P, R, set()),
    # DATA and the dot
    (Stage.DATA, "451 later", T, M, set()),
    (Stage.DATA, "554 no", P, M, set()),
    (Stage.BODY, "451 4.7.1 greylisted", T, M, set()),
    (Stage.BODY, "552 5.3.4 too big", P, M, set()),
    (Stage.BODY, "550 5.7.26 unauthenticated, see SPF", P, M, set()),
    (Stage.BODY, "554 5.6.0 malformed", P, M, set()),
]


def reply(text: str) -> Reply:
    return Reply(int(text[:3]), (text[4:],))


def flags(verdict: Verdict) -> set[str]:
    return {name for name in FLAGS if getattr(verdict, name)}


@pytest.mark.parametrize(("stage", "text", "outcome", "scope", "expected"), ROWS)
def test_reply(stage: Stage, text: str, outcome: Outcome, scope: Scope, expected: set[str]) -> None:
    verdict = judge(stage, reply(text))
    assert (verdict.outcome, verdict.scope, verdict.stage) == (outcome, scope, stage)
    assert flags(verdict) == expected


@pytest.mark.parametrize("stage", Stage)
def test_every_code_has_a_verdict_with_a_sentence(stage: Stage) -> None:
    for code in range(200, 600):
        verdict = judge(stage, Reply(code, ("",)))
        assert verdict.summary.endswith(".")
        assert verdict.accepted == (code // 100 == (3 if stage is Stage.DATA else 2))
        if code // 100 == 4:
            assert verdict.outcome is T


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_a_verdict(failure: Failure) -> None:
    stage = Stage.BODY
    verdict = judge_failure(stage, failure)
    assert not verdict.accepted
    assert verdict.summary.endswith(".")
    assert not verdict.uncertain
    after = judge_failure(stage, failure, dot_written=True)
    assert after.uncertain
    assert after.scope is M
    assert after.outcome is T


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("550 5.1.1 no", "5.1.1"),
        ("450 5.1.1 class does not fit", None),
        ("250 2.0.0", "2.0.0"),
        ("550 no code", None),
        ("550 5.1.1nospace", None),
        ("550 5.1111.1 too long", None),
    ],
)
def test_the_enhanced_code_counts_only_when_its_class_fits(text: str, enhanced: Any) -> None:
    assert reply(text).enhanced == enhanced


def test_a_servers_words_are_made_harmless() -> None:
    made = Reply.from_wire(550, [b"5.1.1 \x1b[31mred\x00", b"5.1.1 caf\xe9 \xe2\x80\xae evil"])
    assert made.lines == ("5.1.1 \\x1b[31mred\\x00", "5.1.1 caf\\xe9 \\u202e evil")
    assert made.text == "5.1.1 \\x1b[31mred\\x00 caf\\xe9 \\u202e evil"
    assert str(made) == "550 " + made.text


def test_an_enhanced_code_has_the_digits_of_ascii() -> None:
    assert Reply.from_wire(250, [b"2.1.5 fine"]).enhanced == "2.1.5"
    assert Reply.from_wire(250, ["2.\u0661.\u0665 fine".encode()]).enhanced is None
