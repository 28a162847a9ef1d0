"""The host's receivers may take their time, which must cost neither mail nor the end of a process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flask_smtp_admin import worker as engine
from flask_smtp_admin.delivery import aside, housekeeping, suspects
from flask_smtp_admin.models import Message
from flask_smtp_admin.signals import Event
from flask_smtp_admin.worker import Worker
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll
from tests.servers.scripted import Peer, ScriptedServer, Step
from tests.test_worker import Gate, running
from tests.waiting import wait_until

Tell = Callable[[Event], None]


class Receivers:
    """What hears of sent messages and keeps everybody waiting until it may return."""

    def __init__(self) -> None:
        self.may_return = threading.Event()
        self.lock = threading.Lock()
        self.at_work = self.most = self.heard = 0

    def __call__(self, event: Event) -> None:
        if event.code != "message_sent":
            return
        with self.lock:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        self.may_return.wait()
        with self.lock:
            self.at_work -= 1
            self.heard += 1


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


@contextmanager
def running_until(may_return: threading.Event, worker: Worker) -> Iterator[Worker]:
    """Run a worker whose receivers may return at the end of the block, also of one that fails."""
    with running(worker):
        try:
            yield worker
        finally:
            may_return.set()


def worker_of(bench: Bench, publish: Tell, **options: Any) -> Worker:
    return Worker(replace(bench.core, publish=publish), kind="test", **options)


def tellers() -> int:
    return sum(thread.name == "smtp-admin-aside" for thread in threading.enumerate())


def test_few_receivers_are_at_work_at_once_and_all_is_sent(
    bench: Bench, catchall: CatchAll, receivers: Receivers
) -> None:
    """Each may want a connection of the pool, and the lanes need some, too."""
    lanes = 2 * engine.RECEIVERS_AT_ONCE
    for number in range(lanes):
        bench.send(connection=bench.connection(catchall, f"Number {number}", max_sessions=1))
    before = tellers()
    with running_until(receivers.may_return, worker_of(bench, receivers, sessions=lanes)):
        wait_until(lambda: bench.statuses() == ["sent"] * lanes)
        wait_until(lambda: tellers() >= before + lanes, what="a thread for each")
        wait_until(lambda: receivers.at_work == engine.RECEIVERS_AT_ONCE)
        receivers.may_return.set()
        wait_until(lambda: receivers.heard == lanes)
    assert receivers.most == engine.RECEIVERS_AT_ONCE


def test_a_worker_that_is_to_end_begins_nothing_when_its_receivers_return(
    bench: Bench, catchall: CatchAll, receivers: Receivers
) -> None:
    bench.connection(catchall, max_sessions=1)
    for _ in range(5):
        bench.send()
    with running_until(receivers.may_return, worker_of(bench, receivers)) as worker:
        wait_until(lambda: bench.statuses().count("sent") == 2, what="one told of, one sent")
        worker.stop()
        wait_until(lambda: bench.statuses().count("queued") == 3, what="the others being released")
        wait_until(lambda: not worker._active.total())
        assert worker.waits_for().startswith("Receivers of its signals have not returned.")
        receivers.may_return.set()
    assert bench.statuses() == ["sent"] * 2 + ["queued"] * 3
    assert len(catchall.messages) == receivers.heard == 2


def test_a_worker_that_does_not_end_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "LOOK_FOR_ENDED", 0.05)
    with ScriptedServer() as server, caplog.at_level(logging.WARNING):
        gate = Gate(server)
        bench.connection(server)
        bench.send()
        with running(bench.worker()) as worker:
            gate.wait()
            worker.stop()
            wait_until(lambda: "The worker is to end. 1 sessions wait for their" in caplog.text)
            gate.open()
    assert bench.statuses() == ["sent"]


def test_who_delivers_alone_begins_nothing_after_receivers_that_took_too_long(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    for _ in range(3):
        bench.send()
    worker = worker_of(bench, lambda event: worker.end_soon())
    assert worker.drain_alone() == 1
    assert bench.statuses() == ["sent", "queued", "queued"]


def test_a_recovery_is_told_with_nothing_in_flight(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    for _ in range(3):
        bench.send()
    catchall.stop()
    for _ in range(8):
        bench.work()
        bench.clock.forward(minutes=20)
    catchall.start()
    heard: list[tuple[str, dict[int, str]]] = []
    core = replace(
        bench.core,
        publish=lambda event: heard.append((event.code, bench.in_flight())),
        hears=lambda code: code == "connection_recovered",
    )
    assert Worker(core, kind="inline").drain_alone() == 3
    assert heard == [("connection_recovered", {})]


# ---------------------------------------------------------------- a sweep with much to tell


def expired(bench: Bench, count: int) -> None:
    for _ in range(count):
        bench.send(expires_at=bench.clock() + timedelta(minutes=1))
    bench.clock.forward(minutes=2)


@pytest.fixture
def short_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SWEEP_SECONDS", -1.0)
    monkeypatch.setattr(housekeeping, "EXPIRED_AT_ONCE", 2)


@pytest.mark.usefixtures("short_sweeps")
def test_what_is_due_comes_before_the_rest_of_a_long_sweep(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    expired(bench, 7)
    bench.send()
    assert bench.worker().drain(sweeps=True) == 1
    assert bench.statuses() == ["failed"] * 7 + ["sent"]
    assert bench.codes().count("final_delivery_failed") == 7
    assert bench.codes().index("message_sent") < 6, "not after all of them"


@pytest.mark.usefixtures("short_sweeps")
def test_a_worker_goes_on_sweeping_at_once(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    expired(bench, 7)
    with running(bench.worker()):
        wait_until(lambda: bench.statuses() == ["failed"] * 7)


def test_a_sweep_ends_when_the_worker_is_to(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "EXPIRED_AT_ONCE", 2)
    bench.connection(catchall)
    expired(bench, 7)
    worker = bench.worker()
    worker.stop()
    worker.sweep()
    assert bench.statuses().count("failed") == 2


def test_no_more_is_given_up_while_too_much_is_untold(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "MOST_UNTOLD", 3)
    monkeypatch.setattr(housekeeping, "EXPIRED_AT_ONCE", 2)
    bench.connection(catchall)
    expired(bench, 20)
    may_return = threading.Event()

    def hear(event: Event) -> None:
        if event.code == "final_delivery_failed":
            may_return.wait()

    with running_until(may_return, worker_of(bench, hear)) as worker:
        wait_until(lambda: len(worker._aside._untold) >= 3)
        worker.sweep()
        worker.sweep()
        assert bench.statuses().count("failed") <= 8
        may_return.set()
        wait_until(lambda: not worker._aside._untold)
        worker.sweep()
        assert bench.statuses().count("failed") > 8


# ---------------------------------------------------------------- what may stop workers


def test_two_that_may_stop_workers_are_not_in_flight_side_by_side(
    bench: Bench, catchall: CatchAll
) -> None:
    """The second is claimed while the first waits for its server's greeting."""
    with ScriptedServer() as slow, ScriptedServer() as other:
        first, second = bench.connection(slow, "Slow"), bench.connection(other, "Other")
        low = bench.send(connection=second, delay=3600)
        high = bench.send(connection=first)
        bench.change(Message, crash_count=suspects.CRASHES_TO_SUSPECT)
        greeting = threading.Event()

        def greet(peer: Peer) -> None:
            greeting.wait()
            peer.say("220 hello")

        slow.always(Step.BANNER, greet)
        with running_until(greeting, bench.worker()) as worker:
            wait_until(lambda: bench.message(high).status == "sending")
            due = bench.clock()
            bench.change(Message, Message.id == low, due_at=due)
            worker.bell.ring()
            wait_until(lambda: bench.message(low).due_at > due, what="its being put off")
            assert bench.message(low).status == "queued"
            assert other.accepted == []
            greeting.set()
            wait_until(lambda: bench.message(high).status == "sent")
