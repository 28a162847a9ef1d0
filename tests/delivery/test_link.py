"""Sessions: kept while they serve, opened again when they have gone stale, ended when idle."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from flask_smtp_admin.delivery import carriers, claim
from flask_smtp_admin.delivery.claim import Claimed
from flask_smtp_admin.delivery.link import Link
from flask_smtp_admin.delivery.rack import Rack
from flask_smtp_admin.smtp import BLOCKING, Session
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll
from tests.servers.scripted import Behaviour, ScriptedServer, Step, close, reset, say
from tests.smtp.endpoints import patient
from tests.waiting import wait_until

HOUR = timedelta(hours=1)


def after_the_first(scripted: ScriptedServer, fault: Behaviour) -> None:
    """Let the second message on the session meet ``fault`` at its MAIL."""

    def accept(peer: Any) -> None:
        scripted.on(Step.MAIL, fault)
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, accept)


def test_one_session_carries_many_messages(bench: Bench, scripted: ScriptedServer) -> None:
    bench.connection(scripted)
    for _ in range(20):
        bench.send()

    assert bench.work() == 20
    assert scripted.sessions == 1


def test_a_session_carries_as_many_messages_as_the_connection_says(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted, messages_per_session=3)
    for _ in range(7):
        bench.send()

    bench.work()

    assert scripted.sessions == 3
    assert scripted.commands.count("QUIT") == 3


@pytest.mark.parametrize("fault", [close, reset, say("421 4.4.2 idle too long")])
def test_a_kept_session_that_went_stale_is_opened_again_without_harm(
    bench: Bench, scripted: ScriptedServer, fault: Any
) -> None:
    connection = bench.connection(scripted)
    after_the_first(scripted, fault)
    bench.send()
    second = bench.send()

    bench.worker().drain()

    assert bench.message(second).status == "sent"
    assert bench.message(second).attempts_count == 1
    assert len(bench.attempts(second)) == 1
    assert bench.health(connection).failures == 0
    assert scripted.sessions == 2


def test_a_stale_session_of_a_server_that_is_gone_says_why_it_cannot_be_reached(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted)

    def leave(peer: Any) -> None:
        scripted._listener.shutdown(socket.SHUT_RDWR)
        scripted._listener.close()
        close(peer)

    after_the_first(scripted, leave)
    first, second = bench.send(), bench.send()
    bench.worker().drain()

    assert bench.message(first).status == "sent"
    waiting = bench.message(second)
    assert (waiting.status, waiting.attempts_count) == ("queued", 0)
    [attempt] = bench.attempts(second)
    assert (attempt.stage, attempt.counted) == ("connect", False)


def test_a_quota_on_a_kept_session_is_not_answered_with_a_new_one(
    bench: Bench, scripted: ScriptedServer
) -> None:
    connection = bench.connection(scripted)
    after_the_first(scripted, say("421 4.7.0 rate limit exceeded, try again later"))
    bench.send()
    bench.send()

    bench.worker().drain()

    assert scripted.sessions == 1
    assert bench.health(connection).breaker == "paused"


def test_a_worker_keeps_its_session_for_the_next_message_and_ends_it_at_last(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted)
    worker = bench.worker()
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    bench.send()
    worker.bell.ring()
    wait_until(lambda: bench.statuses() == ["sent"])
    bench.send()
    worker.bell.ring()
    wait_until(lambda: bench.statuses() == ["sent", "sent"])
    worker.stop()
    thread.join()

    assert scripted.sessions == 1
    assert scripted.commands[-1] == "QUIT"


def test_idle_sessions_are_taken_out_of_the_rack(scripted: ScriptedServer) -> None:
    rack = Rack()
    session = Session(patient(scripted))
    session.open()
    assert rack.put_back(1, session)

    assert rack.stale() == [], "it has just been used"
    assert rack.take(1, patient(scripted, port=1)) is None, "another server's"
    assert rack.take(2, patient(scripted)) is None, "another connection's"
    assert rack.outdated(1, patient(scripted)) == []
    assert rack.surplus(1, 1) == []
    assert rack.stale(older_than=0) == [session]
    assert rack.take(1, patient(scripted)) is None
    assert (rack.count(1), rack.count(2)) == (1, 0), "it is still open"
    rack.end(session)
    assert rack.count(1) == 0
    assert scripted.commands[-1] == "QUIT"


def test_a_rack_that_is_closed_keeps_nothing(scripted: ScriptedServer) -> None:
    rack = Rack()
    session = Session(patient(scripted))
    session.open()
    rack.close()
    assert not rack.put_back(1, session)
    rack.retire(1, session)
    assert rack.count(1) == 1
    rack.end(session)
    assert rack.count(1) == 0


def test_a_session_past_its_deadline_is_not_used_again(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connection(catchall)
    bench.send()
    bench.send()
    monkeypatch.setattr(Session, "usable", property(lambda session: session.transactions == 0))

    bench.worker().drain()

    assert bench.statuses() == ["sent", "sent"]
    assert catchall.sessions == 2


def test_what_was_announced_is_taken_back_when_another_message_comes(
    bench: Bench, scripted: ScriptedServer
) -> None:
    """The one that was announced went to another lane meanwhile; its content must not follow."""
    number = bench.connection(scripted)
    numbers = [bench.send(f"no{each}@example.org", text=f"No {each}\n") for each in range(3)]
    carrier = carriers.find(bench.core, number)
    assert carrier is not None
    now = bench.clock()
    with bench.core.database.write() as connection:
        first, announced, other = claim.claim(
            connection, number, limit=3, token="mine", now=now, lease_until=now + HOUR
        )
    link = Link(carrier, Rack(), bench.core.trial, BLOCKING)
    assert link.make_ready() is None

    def send(message: Claimed, then: Claimed | None = None) -> bool:
        assert message.body is not None
        transaction, _ = link.send(message, message.body, before_final_dot=lambda: True, then=then)
        return transaction.accepted

    assert send(first, then=announced)
    link.expect(other)
    assert link.make_ready() is None
    assert send(other)
    link.expect(announced)
    assert send(announced)
    link.abort()
    assert [taken.recipients for taken in scripted.accepted] == [
        (f"no{each}@example.org",) for each in (0, 2, 1)
    ]
    assert [
        f"No {each}".encode() in taken.content
        for each, taken in zip((0, 2, 1), scripted.accepted, strict=True)
    ] == [True] * 3
    assert numbers == [first.id, announced.id, other.id]
