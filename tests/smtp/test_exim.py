"""Session and probe against a real mail server."""

from __future__ import annotations

from datetime import datetime, timezone
from email import message_from_bytes, policy
from typing import Any

import pytest

from flask_smtp_admin.smtp import (
    Draft,
    Endpoint,
    Envelope,
    Failure,
    FrozenMessage,
    Outcome,
    Part,
    Session,
    SessionError,
    Stage,
    Step,
    freeze,
)
from flask_smtp_admin.smtp.probe import probe
from tests.servers.exim import EximServer

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def endpoint(exim: EximServer, encryption: str = "starttls", **changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "host": "localhost",
        "port": exim.tls_port if encryption == "implicit" else exim.port,
        "encryption": encryption,
        "use_auth": True,
        "username": exim.username,
        "password": exim.password,
        "ca_certificate": exim.ca_pem,
    }
    return Endpoint(**(values | changes))


def sealed(frozen: FrozenMessage) -> Envelope:
    return Envelope(
        frozen.sender,
        tuple(recipient.address for recipient in frozen.recipients),
        frozen.content,
        frozen.smtputf8,
        frozen.eight_bit,
    )


@pytest.mark.parametrize("mechanism", ["auto", "PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("encryption", ["starttls", "implicit"])
def test_a_frozen_message_is_delivered_as_it_was(
    exim: EximServer, encryption: str, mechanism: str
) -> None:
    frozen = freeze(
        Draft(
            subject="Grüße …",
            sender=("Jörg", "joerg@example.test"),
            to=("b@example.test",),
            bcc=("hidden@example.test",),
            text=".\n..\nhällo\n",
            html="<p>hällo</p>",
            attachments=(Part("ü.bin", "application/octet-stream", bytes(range(256)) * 300),),
        ),
        now=NOW,
    )
    session = Session(endpoint(exim, encryption, auth_mechanism=mechanism))
    session.open()
    result = session.send(sealed(frozen))
    again = session.send(sealed(frozen))
    session.quit()
    assert result.accepted
    assert again.accepted
    delivered = exim.wait_for(2)[0]
    ours = delivered[delivered.index(b"From: ") :].replace(b"\n", b"\r\n")
    assert ours == frozen.content
    assert b"hidden" not in ours
    parsed = message_from_bytes(delivered, policy=policy.default)
    assert parsed["Subject"] == "Grüße …"


def test_recipients_have_outcomes_of_their_own(exim: EximServer) -> None:
    session = Session(endpoint(exim))
    session.open()
    result = session.send(
        Envelope(
            "a@example.test",
            ("nosuch@example.test", "defer@example.test", "b@example.test"),
            b"Subject: x\r\n\r\nx\r\n",
        )
    )
    session.quit()
    assert [recipient.verdict.outcome for recipient in result.recipients] == [
        Outcome.PERMANENT,
        Outcome.TEMPORARY,
        Outcome.ACCEPTED,
    ]
    assert len(exim.wait_for(1)) == 1


def test_an_international_address_goes_by_smtputf8(exim: EximServer) -> None:
    frozen = freeze(
        Draft(subject="ü", sender="jörg@example.test", to=("b@example.test",), text="ü"), now=NOW
    )
    assert frozen.smtputf8
    session = Session(endpoint(exim))
    session.open()
    result = session.send(sealed(frozen))
    session.quit()
    assert result.accepted, result
    assert "From: jörg@example.test".encode() in exim.wait_for(1)[0]


def test_a_wrong_password_opens_the_breaker(exim: EximServer) -> None:
    with pytest.raises(SessionError) as caught:
        Session(endpoint(exim, password="wrong")).open()
    assert caught.value.stage is Stage.AUTH
    assert caught.value.verdict.opens_breaker


def test_exims_private_ca_is_not_trusted_by_itself(exim: EximServer) -> None:
    with pytest.raises(SessionError) as caught:
        Session(endpoint(exim, ca_certificate=None)).open()
    assert caught.value.failure is Failure.CERTIFICATE_UNKNOWN_CA


def test_a_message_over_the_servers_size_is_not_offered(exim: EximServer) -> None:
    session = Session(endpoint(exim))
    session.open()
    result = session.send(Envelope("a@example.test", ("b@example.test",), b"x" * 2_000_000))
    assert "5.3.4" in result.verdict.summary
    assert result.usable
    session.quit()


# ---------------------------------------------------------------- probe


def statuses(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.stage.value: step.status for step in steps}


def run(exim: EximServer, recipient: str = "b@example.test", **changes: Any) -> Any:
    content = changes.pop("content", None)
    heard: list[Step] = []
    report = probe(
        endpoint(exim, **changes),
        sender="a@example.test",
        recipient=recipient,
        content=content,
        on_stage=heard.append,
    )
    assert set(heard) == set(report.steps)
    return report


def test_a_probe_sends_nothing_unless_asked(exim: EximServer) -> None:
    report = run(exim)
    assert report.ok, report
    assert statuses(report.steps) == {
        **dict.fromkeys(["resolve", "connect", "greeting", "ehlo", "tls", "auth"], "ok"),
        "mail": "ok",
        "rcpt": "ok",
        "data": "ok",
    }
    assert report.tls.version.startswith("TLSv1.")
    assert [line.text for line in report.dialogue if line.direction == "C"][-1] == "DATA"
    assert exim.password not in repr(report)
    assert exim.messages() == []


def test_a_probe_with_content_sends_it(exim: EximServer) -> None:
    report = run(exim, encryption="implicit", content=b"Subject: test\r\n\r\nhello\r\n")
    assert report.ok
    assert report.delivered
    assert [step.stage for step in report.steps][2] is Stage.TLS
    assert set(statuses(report.steps).values()) == {"ok"}
    assert b"Subject: test" in exim.wait_for(1)[0]


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"password": "wrong"}, Stage.AUTH, "password"),
        ({"ca_certificate": None}, Stage.TLS, "CA certificate"),
        ({"encryption": "none"}, Stage.AUTH, "STARTTLS"),
        ({"encryption": "none", "use_auth": False}, Stage.RCPT, "authentication on"),
        ({"recipient": "nosuch@example.test"}, Stage.RCPT, "Check the address"),
        ({"host": "nosuch.invalid"}, Stage.RESOLVE, "spelling"),
    ],
)
def test_a_failing_probe_says_where_and_what_to_do(
    exim: EximServer, changes: dict[str, Any], stage: Stage, words: str
) -> None:
    report = run(exim, **changes)
    assert not report.ok
    failed = report.failed
    assert failed.stage is stage
    assert failed.cause
    assert words in " ".join(failed.advice)
    after = report.steps[report.steps.index(failed) + 1 :]
    assert {step.status for step in after} == {"skipped"}
    assert exim.messages() == []


def test_the_tls_port_spoken_to_in_clear(exim: EximServer) -> None:
    report = run(exim, port=exim.tls_port, reply_timeout=1.0)
    assert report.failed.stage is Stage.GREETING
    assert "SSL/TLS" in report.failed.advice[0]


def test_the_clear_port_spoken_to_in_tls(exim: EximServer) -> None:
    report = run(exim, encryption="implicit", port=exim.port)
    assert report.failed.stage is Stage.TLS
    assert "STARTTLS" in report.failed.advice[0]
