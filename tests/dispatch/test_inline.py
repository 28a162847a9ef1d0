"""Delivery in the call that committed the message."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from flask_smtp_admin.delivery import claim
from flask_smtp_admin.dispatch.inline import InlineBell
from flask_smtp_admin.worker import Worker
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll


def test_a_message_sent_by_a_receiver_is_taken_along(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    bell = InlineBell(bench.core)
    publish = bench.core.publish

    def answer(event: Any) -> None:
        publish(event)
        if event.code == "message_sent" and event.subject == "Your order":
            bench.send(subject="An answer")
            bell.ring()

    object.__setattr__(bench.core, "publish", answer)
    bench.send()
    bell.ring()

    assert bench.statuses() == ["sent", "sent"]


def test_who_hears_of_a_message_keeps_no_other_in_flight(bench: Bench, catchall: CatchAll) -> None:
    """A process that is killed while it does something of its own has nothing to say of any."""
    bench.connection(catchall)
    catchall.answer_recipient("late@example.org", "451 4.7.1 come back later")
    heard: list[tuple[str, dict[int, str]]] = []

    def note(event: Any) -> None:
        if event.code != "message_queued":
            heard.append((event.code, bench.in_flight()))

    object.__setattr__(bench.core, "publish", note)
    for recipient in ("ann@example.org", "late@example.org", "bob@example.org"):
        bench.send(recipient)
    InlineBell(bench.core).ring()

    assert heard == [("message_sent", {}), ("delivery_failed", {}), ("message_sent", {})]


def test_what_a_killed_process_left_is_taken_back(bench: Bench, catchall: CatchAll) -> None:
    connection = bench.connection(catchall)
    bench.send()
    with bench.core.database.write() as link:
        claim.claim(
            link,
            connection,
            limit=1,
            token="the dead",
            now=bench.clock(),
            lease_until=bench.clock() + timedelta(minutes=15),
        )
    bench.clock.forward(minutes=16)

    InlineBell(bench.core).ring()

    assert bench.statuses() == ["sent"]


def test_a_server_that_is_down_does_not_keep_the_call(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    catchall.stop()
    for _ in range(30):
        bench.send()

    InlineBell(bench.core).ring()

    assert len(bench.attempts()) == 1


def test_a_long_sweep_is_not_done_by_several_calls_at_once(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connection(catchall)
    bell = InlineBell(bench.core)
    sweeps: list[str] = []

    def sweep(_: Worker) -> None:
        sweeps.append(threading.current_thread().name)
        if len(sweeps) == 1:
            other = threading.Thread(target=bell.ring, name="another request")
            other.start()
            other.join()

    monkeypatch.setattr(Worker, "sweep", sweep)
    bell.ring()
    assert sweeps == [threading.current_thread().name]
