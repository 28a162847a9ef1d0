"""Likely causes: each well-known trouble leads to its own advice."""

from __future__ import annotations

import pytest

from flask_smtp_admin.smtp import Endpoint, Failure, Reply, Stage, judge, judge_failure
from flask_smtp_admin.smtp.hints import Trouble, advise


@pytest.mark.parametrize(
    ("host", "stage", "words", "expected"),
    [
        ("smtp.gmail.com", Stage.AUTH, "534 5.7.9 Application-specific password", "app password"),
        ("smtp.gmail.com", Stage.AUTH, "535 5.7.8 not accepted", "app password"),
        ("smtp.office365.com", Stage.AUTH, "535 5.7.139 disabled", "Authenticated SMTP"),
        ("smtp.office365.com", Stage.AUTH, "535 5.7.3 unsuccessful", "SMTP AUTH"),
        ("smtp.mail.yahoo.com", Stage.AUTH, "535 5.7.0 bad", "app password"),
        ("email-smtp.eu-west-1.amazonaws.com", Stage.AUTH, "535 bad", "SMTP credentials"),
        ("smtp.sendgrid.net", Stage.AUTH, "535 bad", "apikey"),
        ("mail.example.test", Stage.AUTH, "535 bad", "password again"),
        ("notgmail.com.example.test", Stage.AUTH, "535 bad", "password again"),
        ("mail.example.test", Stage.MAIL, "530 5.7.0 Must issue STARTTLS first", "STARTTLS"),
        ("smtp.office365.com", Stage.MAIL, "554 5.2.252 SendAsDenied", "own address"),
        ("mail.example.test", Stage.RCPT, "554 5.7.1 Relay access denied", "authentication on"),
        ("mail.example.test", Stage.RCPT, "550 5.1.1 unknown", "Check the address"),
    ],
)
def test_reply(host: str, stage: Stage, words: str, expected: str) -> None:
    reply = Reply(int(words[:3]), (words[4:],))
    advice = advise(Trouble(Endpoint(host, 587), stage, judge(stage, reply), reply))
    assert expected in " ".join(advice.steps)
    assert advice.cause.endswith(".")


@pytest.mark.parametrize(
    ("port", "stage", "failure", "expected"),
    [
        (25, Stage.CONNECT, Failure.TIMED_OUT, "Use port 587"),
        (587, Stage.CONNECT, Failure.TIMED_OUT, "Check host and port"),
        (587, Stage.CONNECT, Failure.REFUSED, "Check the port"),
        (465, Stage.GREETING, Failure.TLS_EXPECTED, "Choose SSL/TLS"),
        (587, Stage.TLS, Failure.TLS_NOT_SPOKEN, "Choose STARTTLS"),
        (587, Stage.TLS, Failure.CERTIFICATE_WRONG_NAME, "by the name"),
        (587, Stage.RESOLVE, Failure.NAME_NOT_FOUND, "spelling"),
        (587, Stage.TLS, Failure.CERTIFICATE_EXPIRED, "renewed"),
    ],
)
def test_failure(port: int, stage: Stage, failure: Failure, expected: str) -> None:
    verdict = judge_failure(stage, failure)
    endpoint = Endpoint("mail.example.test", port)
    advice = advise(Trouble(endpoint, stage, verdict, failure=failure))
    assert expected in advice.steps[0]
