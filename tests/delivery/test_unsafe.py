"""What must not leave over a link that is not safe, or to a server that cannot take it.

The server's journal is compared with what the database says of the message and of the connection.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_smtp_admin import connections
from flask_smtp_admin.models import AttemptStatus, BreakerState, Encryption
from tests.delivery.bench import Bench
from tests.servers.scripted import (
    PASSWORD,
    USERNAME,
    Identity,
    ScriptedServer,
    Step,
    identity,
    say,
    write,
)


@pytest.fixture(scope="module")
def certificate() -> Identity:
    return identity()


def stripped(server: ScriptedServer) -> None:
    """Somebody on the way takes the offer of encryption out."""
    server.on(Step.EHLO, say("250-scripted.test\n250-AUTH PLAIN LOGIN\n250 SIZE 10485760"))


def injected(server: ScriptedServer) -> None:
    """Somebody on the way puts a reply in that the client would take for one under encryption."""
    server.on(Step.STARTTLS, write(b"220 go ahead\r\n250 injected\r\n"))


def unknown(server: ScriptedServer) -> None:
    """Nothing is done: nobody has said yet that the server's authority is to be trusted."""


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (stripped, "does not offer STARTTLS"),
        (injected, "somebody may be tampering"),
        (unknown, "authority that is not trusted"),
    ],
)
def test_nothing_leaves_over_a_link_that_is_not_safe(
    attack: Callable[[ScriptedServer], None], reason: str, bench: Bench, certificate: Identity
) -> None:
    with ScriptedServer(tls=certificate) as server:
        attack(server)
        connection = bench.connection(
            server,
            host="localhost",
            encryption=Encryption.STARTTLS,
            ca_certificate=None if attack is unknown else certificate.ca_pem,
            use_auth=True,
            username=USERNAME,
            password=PASSWORD,
        )
        numbers = [bench.send(at_most_once=True), bench.send()]

        bench.work()

        said = {command.split()[0].upper() for command in server.commands}
        assert said <= {"EHLO", "STARTTLS", "QUIT"}, "neither a password nor a message"
        assert server.accepted == []
        assert bench.statuses() == ["queued", "queued"]
        assert [row.attempts_count for row in bench.messages()] == [0, 0]
        [attempt] = bench.attempts()
        assert (attempt.message_id, attempt.status) == (numbers[0], AttemptStatus.FAIL)
        assert (attempt.stage, attempt.counted) == ("tls", False)
        assert reason in attempt.reason
        assert reason in bench.message(numbers[0]).reason
        health = bench.health(connection)
        assert (health.breaker, health.failures) == (BreakerState.CLOSED, 1)
        assert health.last_stage == "tls"
        assert reason in health.last_reason
        assert bench.in_flight() == {}

        if attack is unknown:
            secret = {"password": PASSWORD, "confirm_password": PASSWORD}
            trusted = {"ca_certificate": certificate.ca_pem, **secret}
            connections.update(bench.core, connection, trusted)
        bench.clock.forward(seconds=6)
        assert bench.work() == 2
        assert len(server.accepted) == 2
        assert bench.statuses() == ["sent", "sent"]
        assert bench.health(connection).failures == 0


@pytest.mark.parametrize(
    ("offers", "recipient", "text", "code"),
    [
        (("SIZE 2000", "SMTPUTF8", "8BITMIME"), "ann@example.org", "x" * 70 + "\n", "5.3.4"),
        (("SIZE 10485760", "8BITMIME"), "jörg@example.org", "", "5.6.7"),
    ],
    ids=["too large", "no SMTPUTF8"],
)
def test_what_a_server_cannot_take_is_given_up_without_being_offered(
    bench: Bench, offers: tuple[str, ...], recipient: str, text: str, code: str
) -> None:
    with ScriptedServer(extensions=offers) as server:
        connection = bench.connection(server)
        before, bad, after = (
            bench.send("bob@example.org"),
            bench.send(recipient, text=text * 100 + "Hello.\n"),
            bench.send("eve@example.org"),
        )

        assert bench.work() == 2

        assert [message.recipients[0] for message in server.accepted] == [
            "bob@example.org",
            "eve@example.org",
        ]
        assert not any(recipient in command for command in server.commands), "it was not offered"
        assert sum(command.startswith("MAIL") for command in server.commands) == 2
        assert server.sessions == 1
    assert bench.statuses() == ["sent", "failed", "sent"]
    message = bench.message(bad)
    assert code in message.reason
    assert bench.recipients(bad) == {recipient: "failed"}
    [attempt] = bench.attempts(bad)
    assert (attempt.status, attempt.smtp_code) == (AttemptStatus.FAIL, None)
    assert code in attempt.reason
    assert [event.message_id for event in bench.told("final_delivery_failed")] == [bad]
    assert {before, after} == {
        row.message_id for row in bench.attempts() if row.status == "SUCCESS"
    }
    health = bench.health(connection)
    assert (health.breaker, health.failures) == (BreakerState.CLOSED, 0)
