"""Tests of delivery that ends when nothing is due: ``flask smtp-admin worker --burst``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest

from flask_smtp_admin import database, worker
from flask_smtp_admin.dispatch.burst import deliver_due
from flask_smtp_admin.dispatch.inline import InlineBell
from tests.delivery.bench import BRISK, Bench, a_bench
from tests.delivery.test_housekeeping import die_with
from tests.servers.catchall import CatchAll
from tests.servers.scripted import Peer, ScriptedServer, Step
from tests.waiting import wait_until


@pytest.fixture
def bench(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(worker, "PACE", BRISK)
    with a_bench(sqlite_url) as made:
        yield made


def test_a_burst_takes_over_what_a_dead_worker_had_in_hand(
    bench: Bench, catchall: CatchAll
) -> None:
    number = bench.connection(catchall)
    flies = bench.send("ann@example.org")
    die_with(bench, number, flies)
    bench.clock.forward(seconds=46)
    bench.send("bob@example.org")

    said: list[str] = []
    assert deliver_due(bench.core, sessions=None, say=said.append) == 2
    assert [message.recipients[0] for message in catchall.messages] == [
        "bob@example.org",
        "ann@example.org",
    ], "what is due does not wait for it"
    [reason] = said
    assert "in 2 s they are taken back" in reason


def test_a_burst_does_not_wait_for_messages_that_others_deliver(
    bench: Bench, catchall: CatchAll
) -> None:
    number = bench.connection(catchall)
    flies = bench.send()
    die_with(bench, number, flies)
    bench.clock.forward(seconds=30)
    said: list[str] = []
    assert deliver_due(bench.core, sessions=None, say=said.append) == 0
    assert bench.statuses() == ["sending"]
    assert not said


@pytest.mark.parametrize("way", ["burst", "inline"])
def test_what_expires_does_so_by_the_clock_of_the_database(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    bench.connection(catchall)
    bench.send(expires_at=bench.clock() + timedelta(minutes=1))
    bench.clock.forward(minutes=2)  # this machine alone
    monkeypatch.setattr(database, "_skew", lambda connection: timedelta(minutes=-2))
    if way == "burst":
        deliver_due(bench.core, sessions=None, say=pytest.fail)
    else:
        InlineBell(bench.core).ring()
    assert bench.statuses() == ["sent"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_has_the_message_in_hand_finished_and_the_rest_released(
    bench: Bench, number: signal.Signals
) -> None:
    with ScriptedServer() as server:

        def ask_to_end(peer: Peer) -> None:
            os.kill(os.getpid(), number)
            # It may be another thread of this process that gets it; the main one then acts later.
            wait_until(lambda: signal.getsignal(number) is before, what="the handler")
            peer.say("250 2.0.0 taken")

        before = signal.getsignal(number)
        server.on(Step.DOT, None, ask_to_end)
        connection = bench.connection(server, max_sessions=1)
        for _ in range(20):
            bench.send()
        sent = deliver_due(bench.core, sessions=1, say=pytest.fail)

    assert signal.getsignal(number) is before
    assert bench.statuses().count("sent") == sent == len(server.accepted) + 1
    assert 2 <= sent < 20
    assert bench.statuses().count("queued") == 20 - sent, "nothing is left under a lease"
    assert bench.health(connection).failures == 0


def test_a_signal_between_two_looks_begins_nothing_more(bench: Bench, catchall: CatchAll) -> None:
    connection = bench.connection(catchall)
    flies = bench.send()
    die_with(bench, connection, flies)
    bench.clock.forward(seconds=46)

    def ask_to_end(reason: str) -> None:
        assert "taken back" in reason
        bench.send()
        os.kill(os.getpid(), signal.SIGTERM)

    assert deliver_due(bench.core, sessions=None, say=ask_to_end) == 0
    assert bench.statuses() == ["sending", "queued"]
    assert not catchall.messages
