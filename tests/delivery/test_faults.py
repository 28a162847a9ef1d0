"""Nine faults at thirteen steps, met by a worker: the server's journal against the database.

Whatever happens once, every message is delivered, due, held or given up with its reason; it counts
as sent if and only if the server took it; no server gets it twice; and the others are unaffected.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from flask_smtp_admin.models import Encryption, Status
from flask_smtp_admin.models.states import FINAL
from tests.delivery.bench import Bench
from tests.servers.scripted import (
    FAULTS,
    PASSWORD,
    USERNAME,
    Identity,
    ScriptedServer,
    Step,
    identity,
    leaving,
    say,
)

MESSAGES = 3
ROUNDS = 15
"""Longer than the longest row of probes and retries that one fault can cause."""


@pytest.fixture(scope="module")
def certificate() -> Identity:
    return identity()


def connect(bench: Bench, server: ScriptedServer, certificate: Identity) -> int:
    return bench.connection(
        server,
        host="localhost",
        encryption=Encryption.STARTTLS,
        ca_certificate=certificate.ca_pem,
        use_auth=True,
        username=USERNAME,
        password=PASSWORD,
        max_sessions=1,
        connect_timeout=2,
        reply_timeout=1,
        final_timeout=1,
    )


def check(bench: Bench, server: ScriptedServer) -> None:
    """Compare what the server took with what the database says."""
    copies = Counter(
        re.search(rb"(?im)^message-id: *(<[^>]+>)", one.content)[1].decode()  # type: ignore[index]
        for one in server.accepted
    )
    for row in bench.messages():
        took = copies.pop(row.message_id, 0)
        assert took == (row.status == Status.SENT), (row.status, took, row.reason)
        if row.status == Status.FAILED:
            assert row.reason
        if row.status == Status.QUEUED:
            assert row.lease_until is None, "nobody has it in hand"
    assert not copies, "every copy has the Message-ID that was frozen"


def run(bench: Bench, server: ScriptedServer) -> None:
    """Deliver what is due, and pass the time until nothing is left."""
    for _ in range(ROUNDS):
        bench.work()
        check(bench, server)
        if all(row.status in FINAL for row in bench.messages()):
            return
        bench.clock.forward(minutes=11)
    raise AssertionError(f"never ended: {bench.statuses()}")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", Step)
def test_one_fault_costs_at_most_the_message_that_met_it(
    step: Step, fault: str, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(step, FAULTS[fault])
        connection = connect(bench, server, certificate)
        for number in range(MESSAGES):
            bench.send(f"r{number}@example.org")

        run(bench, server)

        refused = fault == "5xx" and step in (Step.RCPT, Step.DATA, Step.BODY, Step.DOT)
        assert bench.statuses().count("sent") == MESSAGES - refused
        assert not bench.health(connection).failures, "the connection has recovered"


def test_a_kept_session_that_the_server_ends_costs_nothing(
    certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(Step.MAIL, None, leaving, None, leaving)
        connect(bench, server, certificate)
        for _ in range(5):
            bench.send()
        run(bench, server)
        assert bench.statuses() == ["sent"] * 5
        assert [row.attempts_count for row in bench.messages()] == [1] * 5


def test_a_mix_of_recipients_ends_with_each_as_the_server_said(
    certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        connect(bench, server, certificate)
        server.on(Step.RCPT, None, say("450 4.2.1 greylisted"), say("550 5.1.1 nobody"), None)
        number = bench.send(*(f"r{n}@example.org" for n in range(4)))
        bench.work()
        assert list(bench.recipients(number).values()) == ["sent", "pending", "failed", "sent"]
        bench.clock.forward(minutes=11)
        bench.work()
        assert bench.message(number).status == "partial"
        offered = [message.recipients for message in server.accepted]
        assert offered == [("r0@example.org", "r3@example.org"), ("r1@example.org",)]


@pytest.mark.parametrize(
    "reply", ["550 5.4.5 daily quota exceeded", "454 4.7.0 too many messages", "432 4.3.2 limit"]
)
def test_a_quota_pauses_the_connection_and_spends_nothing(
    reply: str, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(Step.MAIL, say(reply))
        connection = connect(bench, server, certificate)
        for _ in range(3):
            bench.send()
        bench.work()
        assert bench.health(connection).breaker == "paused"
        assert server.commands.count("DATA") <= 1
        run(bench, server)
        assert bench.statuses() == ["sent"] * 3
        assert [row.attempts_count for row in bench.messages()] == [1] * 3
