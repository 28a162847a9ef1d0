"""The worker's clockwork: in threads and real processes, killed, stopped, and without a database."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from flask_smtp_admin import worker as engine
from flask_smtp_admin.database import Collision, Database
from flask_smtp_admin.delivery import (
    breaker,
    claim,
    housekeeping,
    lease,
    patience,
    presence,
    supply,
)
from flask_smtp_admin.delivery.lease import Clockwork, Lease, Pace
from flask_smtp_admin.delivery.supply import Supply
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Message, SessionHold
from flask_smtp_admin.models import Worker as WorkerRow
from flask_smtp_admin.models.worker import ALIVE_WITHIN
from flask_smtp_admin.worker import Bell, Worker
from tests.delivery.bench import BRISK, Bench, a_bench
from tests.delivery.test_housekeeping import die_with
from tests.dispatch.stage import Stage, a_stage, terminate
from tests.rows import a_message, add
from tests.servers.catchall import CatchAll
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess
from tests.servers.scripted import ScriptedServer, Step
from tests.waiting import wait_until


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    with a_bench(sqlite_url) as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path, sqlite_url: str) -> Iterator[Stage]:
    with a_stage(tmp_path / "host", sqlite_url) as made:
        yield made


@pytest.fixture
def each_stage(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    """A stage on each of the three databases."""
    with a_stage(tmp_path / "host", database_url) as made:
        yield made


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """Run a worker in a thread while the block lasts."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()


class Gate:
    """A server's reply to the final dot that comes when the test says so.

    :param after: so many messages are taken at once before it.
    """

    def __init__(
        self, server: ScriptedServer, reply: str = "250 2.0.0 taken", *, after: int = 0
    ) -> None:
        self._server = server
        self._reply = reply
        self._open = threading.Event()
        self.is_reached = threading.Event()
        server.on(Step.DOT, *[None] * after, self._meet)

    def _meet(self, peer: Any) -> None:
        self.is_reached.set()
        while not self._open.wait(0.01):
            if self._server.stopping.is_set():
                return
        peer.say(self._reply)

    def wait(self) -> None:
        wait_until(self.is_reached.is_set, what="a message in flight")

    def open(self) -> None:
        self._open.set()


# ---------------------------------------------------------------- being killed, being stopped


def test_the_pace_keeps_the_promise() -> None:
    """A killed worker's message is tried again within 75 s."""
    pace = Pace()
    assert pace.lease.total_seconds() + pace.sweep_every + engine.DATABASE_PAUSE <= 75
    assert pace.renew_every * 2 + pace.margin < pace.lease.total_seconds()
    assert pace.renew_every * 2 < ALIVE_WITHIN.total_seconds()
    assert pace == engine.PACE


def test_the_next_worker_delivers_what_a_killed_one_had_in_hand(each_stage: Stage) -> None:
    stage = each_stage
    with ScriptedServer() as server:
        gate = Gate(server, after=5)  # by then more than the next one is claimed
        stage.bench.connection(server, max_sessions=1)
        stage.send(20)
        first = stage.worker()
        gate.wait()
        assert stage.bench.statuses().count("sending") > 1
        _kill(first)

        stage.worker()

        stage.wait_until_sent(20)
        assert len(server.accepted) == 20, "the one in flight may come twice; here it did not"
    in_flight = [m for m in stage.bench.messages() if m.crash_count]
    assert len(in_flight) == 1
    [lost, again] = stage.bench.attempts(in_flight[0].id)
    assert (lost.status, again.status) == ("FAIL", "SUCCESS")


def test_a_worker_that_is_asked_to_end_finishes_its_message_and_releases_the_rest(
    stage: Stage,
) -> None:
    with ScriptedServer() as server:
        gate = Gate(server, after=5)
        stage.bench.connection(server, max_sessions=1)
        stage.send(20)
        worker = stage.worker()
        gate.wait()
        assert stage.bench.statuses().count("sending") > 1

        terminate(worker)
        gate.open()
        wait_until(lambda: not worker.running, what="the worker's end")

    # A quick one may begin the next message before the signal has reached it.
    statuses = stage.bench.statuses()
    assert 6 <= statuses.count("sent") <= 8
    assert statuses.count("queued") == 20 - statuses.count("sent")
    assert all(m.lease_token is None for m in stage.bench.messages() if m.status == "queued")
    assert "Stopped; nothing is left half done." in worker.log()
    assert stage.workers() == set()


def test_a_worker_that_slept_longer_than_its_lease_does_not_send_again(
    tmp_path: Path, postgres_url: str
) -> None:
    """SIGSTOP and SIGCONT: what was taken over meanwhile is not this worker's any more.

    Not on SQLite: a process that is stopped in a transaction keeps everybody from writing.
    """
    with a_stage(tmp_path / "host", postgres_url) as stage, ScriptedServer() as server:
        gate = Gate(server)
        stage.bench.connection(server, max_sessions=1)
        stage.send(5)
        sleeper = stage.worker()
        gate.wait()
        _signal(sleeper, signal.SIGSTOP)

        second = stage.worker()
        stage.wait_until_sent(5)
        _signal(sleeper, signal.SIGCONT)
        gate.open()
        terminate(sleeper)
        wait_until(lambda: not sleeper.running, what="the sleeper's end")
        second.stop()

        assert len(server.accepted) == 5
        assert stage.bench.statuses() == ["sent"] * 5


def test_nothing_is_finished_after_the_lease_has_ended(bench: Bench) -> None:
    """As when the process was stopped in the middle of a message: the final dot is not written."""
    with ScriptedServer() as server:
        asleep = Pace(lease=timedelta(seconds=1), margin=0.1, renew_every=3600, sweep_every=3600)
        worker = bench.worker(pace=asleep)

        def slow(peer: Any) -> None:
            [lease] = worker._leases._held
            wait_until(lambda: not lease.holds())
            peer.say("354 go ahead")

        server.on(Step.DATA, slow)
        bench.connection(server)
        number = bench.send(at_most_once=True)
        worker.drain(seconds=0)

        assert server.accepted == []
    message = bench.message(number)
    assert (message.status, message.attempts_count) == ("queued", 0)
    assert "lost its claim" in message.reason


def test_several_processes_deliver_each_message_once(each_stage: Stage, catchall: CatchAll) -> None:
    stage = each_stage
    del stage.environment["HOST_LEASE"]  # a busy machine may not keep up with a brisk pace
    connection = stage.bench.connection(catchall, max_sessions=20)
    due = {"connection_id": connection, "due_at": stage.bench.clock()}
    stage.send()
    _multiply(stage.bench, 400, due)

    threads = [
        threading.Thread(target=stage.run, args=("smtp-admin", "worker", "--burst"))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert stage.bench.statuses() == ["sent"] * 401
    assert len(catchall.messages) == 401
    offered = [attempt.message_id for attempt in stage.bench.attempts()]
    assert len(offered) == len(set(offered)) == 401
    assert len({attempt.worker for attempt in stage.bench.attempts()}) == 2


def test_threads_of_several_workers_deliver_each_message_once(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall, max_sessions=4)
    for _ in range(100):
        bench.send()
    workers = [bench.worker(sessions=3) for _ in range(3)]
    threads = [threading.Thread(target=worker.drain) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(catchall.messages) == 100
    assert set(bench.statuses()) == {"sent"}


def test_who_delivers_alone_begins_nothing_after_its_time(bench: Bench, catchall: CatchAll) -> None:
    """The end of a process waits for it."""
    bench.connection(catchall)
    for _ in range(3):
        bench.send()
    assert bench.worker().drain_alone(seconds=0) == 0
    assert bench.statuses() == ["queued"] * 3


# ---------------------------------------------------------------- several sessions, several workers


def test_the_sessions_of_a_connection_are_counted_over_all_workers(
    each_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "FIRST_A_LANE", 2)
    bench = each_stage.bench
    with ScriptedServer() as server:
        gate = Gate(server)
        connection = bench.connection(server, max_sessions=1)
        for _ in range(2):
            bench.send()
        with running(bench.worker()):
            gate.wait()
            late = bench.send()
            assert bench.worker().drain_alone() == 0, "the one session is taken"
            assert bench.message(late).status == "queued"
            assert server.sessions == 1

            bench.change(Connection, Connection.id == connection, max_sessions=2)
            assert bench.worker().drain_alone() == 1
            assert bench.message(late).status == "sent"
            gate.open()
            wait_until(lambda: bench.statuses() == ["sent"] * 3)


@pytest.mark.parametrize(("seconds_left", "sent"), [(20, 0), (-1, 1)])
def test_the_session_of_a_dead_worker_counts_until_its_hold_ends(
    each_stage: Stage, catchall: CatchAll, seconds_left: int, sent: int
) -> None:
    bench = each_stage.bench
    connection = bench.connection(catchall, max_sessions=1)
    waiting = bench.send()
    add(
        bench.engine,
        SessionHold(
            id="of the dead",
            connection_id=connection,
            sessions=1,
            held_until=bench.clock() + timedelta(seconds=seconds_left),
        ),
    )
    assert bench.worker().drain_alone() == sent
    assert bench.message(waiting).status == ("sent" if sent else "queued")


def test_sessions_are_given_back_when_nothing_is_left(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall, max_sessions=1)
    bench.send()
    assert bench.worker().drain() == 1
    assert bench.rows(SessionHold) == []


def test_what_a_dead_worker_held_is_forgotten(bench: Bench, catchall: CatchAll) -> None:
    connection = bench.connection(catchall)
    ended = bench.clock() - timedelta(hours=2)
    add(
        bench.engine,
        SessionHold(id="old", connection_id=connection, sessions=1, held_until=ended),
        SessionHold(id="new", connection_id=connection, sessions=1, held_until=bench.clock()),
    )
    bench.worker().sweep()
    assert [row.id for row in bench.rows(SessionHold)] == ["new"]


def test_a_hold_on_sessions_is_renewed_while_the_server_takes_its_time(bench: Bench) -> None:
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server)
        bench.send()
        with running(bench.worker(pace=BRISK)):
            gate.wait()
            [first] = bench.rows(SessionHold)
            until = first.held_until + BRISK.lease
            wait_until(lambda: bench.rows(SessionHold)[0].held_until > until)
            assert bench.rows(SessionHold)[0].sessions == 1
            gate.open()
    assert bench.rows(SessionHold) == []


def test_what_waits_behind_a_slow_message_goes_over_other_sessions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STUCK_AFTER", 0.05)
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server, max_sessions=2)
        slow, *others = [bench.send() for _ in range(4)]
        with running(bench.worker(pace=BRISK)):
            gate.wait()
            wait_until(lambda: all(bench.message(one).status == "sent" for one in others))
            assert bench.message(slow).status == "sending"
            gate.open()
            wait_until(lambda: bench.message(slow).status == "sent")
    assert [row.crash_count for row in bench.messages()] == [0] * 4
    assert len(bench.attempts()) == 4


def test_a_slow_message_does_not_keep_an_urgent_one(bench: Bench) -> None:
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server, max_sessions=2)
        slow = bench.send()
        with running(bench.worker()) as worker:
            gate.wait()
            urgent = bench.send(priority="high")
            worker.bell.ring()
            wait_until(lambda: bench.message(urgent).status == "sent")
            assert bench.message(slow).status == "sending"
            gate.open()


def test_a_connection_that_is_switched_off_carries_only_the_message_in_hand(bench: Bench) -> None:
    with ScriptedServer() as server:
        gate = Gate(server)
        connection = bench.connection(server, max_sessions=1)
        for _ in range(5):
            bench.send()
        with running(bench.worker()):
            gate.wait()
            bench.change(Connection, Connection.id == connection, enabled=False)
            gate.open()
            wait_until(lambda: bench.statuses().count("queued") == 4)
    assert bench.statuses().count("sent") == 1
    assert server.accepted == [], "the gate took the one, and nothing followed"


# ---------------------------------------------------------------- clocks


def _wait_for_renewal(bench: Bench) -> None:
    before = bench.messages()[0].lease_until
    wait_until(lambda: bench.messages()[0].lease_until > before, what="a renewed lease")


def test_a_clock_that_is_ahead_takes_nothing_from_a_living_worker(bench: Bench) -> None:
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server, max_sessions=1)
        bench.send()
        with running(bench.worker(pace=BRISK)) as worker:
            gate.wait()
            other = bench.worker(pace=BRISK)
            other.sweep()
            for _ in range(2):
                bench.clock.forward(minutes=2)
                other.sweep()
                worker.sweep()
                _wait_for_renewal(bench)
            assert bench.statuses() == ["sending"]
            gate.open()
            wait_until(lambda: bench.statuses() == ["sent"])
    assert bench.messages()[0].crash_count == 0
    assert len(bench.attempts()) == 1


def test_leases_go_by_the_clock_of_the_database(
    each_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = each_stage.bench
    with bench.core.database.read() as connection:
        assert abs(bench.core.database.skew(connection)) < timedelta(minutes=1)
    hour = timedelta(hours=1)
    monkeypatch.setattr(Database, "skew", lambda self, connection: hour)
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server)
        bench.send()
        with running(bench.worker()):
            gate.wait()
            assert bench.messages()[0].lease_until > bench.clock() + hour
            gate.open()
            wait_until(lambda: bench.statuses() == ["sent"])


# ---------------------------------------------------------------- the database away


def test_an_outcome_is_stored_when_the_database_is_back(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with ScriptedServer() as server, a_bench(postgres_url) as bench:
        gate = Gate(server)
        bench.connection(server)
        number = bench.send(at_most_once=True)
        with running(bench.worker()):
            gate.wait()
            postgres_server.stop()
            gate.open()
            wait_until(lambda: len(server.commands) > 3)
            postgres_server.start()

            wait_until(lambda: bench.message(number).status == "sent")

    assert [event.code for event in bench.events[1:]] == ["message_sent"]


def test_an_outcome_outlives_the_lease_as_long_as_its_worker_does(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with ScriptedServer() as server, a_bench(postgres_url) as bench:
        gate = Gate(server)
        bench.connection(server)
        careful = bench.send(at_most_once=True)
        other = bench.send()
        with running(bench.worker(pace=BRISK)) as worker:
            gate.wait()
            [lease] = worker._leases._held
            postgres_server.stop()
            gate.open()
            wait_until(lambda: not lease.holds())
            postgres_server.start()

            wait_until(lambda: bench.message(careful).status == "sent")
            wait_until(lambda: bench.message(other).status == "sent")

        assert [row.crash_count for row in bench.messages()] == [0, 0]
        assert len(bench.attempts(careful)) == 1
        assert len(server.accepted) == 1, "the careful one was taken by the gate, once"


def test_a_worker_started_without_a_database_waits_for_it(
    postgres_server: PostgresServer, postgres_url: str, catchall: CatchAll
) -> None:
    with a_bench(postgres_url) as bench:
        bench.connection(catchall)
        number = bench.send()
        postgres_server.stop()
        with running(bench.worker(pace=BRISK)):
            postgres_server.start()
            wait_until(lambda: bench.message(number).status == "sent")


def test_a_database_that_only_reads_makes_no_hot_loop(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk for instance: there is work, but it cannot be claimed."""
    bench.connection(catchall)
    bench.send()
    claims: list[int] = []

    def fail(self: Supply, *args: Any) -> None:
        claims.append(1)
        raise OutboxUnavailable("database or disk is full")

    monkeypatch.setattr(Supply, "_claim", fail)
    monkeypatch.setattr(patience, "AGAIN_AFTER", 0)
    with running(bench.worker()) as worker:
        wait_until(lambda: len(claims) >= patience.CLAIM_TRIES)
        wait_until(lambda: not worker._busy())
        for _ in range(20):
            worker.bell.ring()
            wait_until(lambda: not worker.bell._rung.is_set())
        assert len(claims) == patience.CLAIM_TRIES
        assert (
            0 < worker._seconds_until_due(bench.clock(), time.monotonic()) <= engine.DATABASE_PAUSE
        )


# ---------------------------------------------------------------- the clockwork


def test_a_ring_is_never_lost() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(60)
    assert not bell._rung.is_set()


def never_sweeping(bench: Bench) -> Worker:
    """Return a worker that sweeps at its start and, as far as a test is concerned, never again."""
    return bench.worker(pace=Pace(sweep_every=3600), clockwork=Clockwork(pause=0.0))


def test_a_ringing_bell_starts_delivery_without_a_sweep(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    with running(never_sweeping(bench)) as worker:
        wait_until(lambda: worker._sweeps_at > 0)
        bench.send()
        worker.bell.ring()
        wait_until(lambda: bench.statuses() == ["sent"])


def test_a_message_leaves_when_it_is_due_without_a_ring(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    bench.send(delay=3600)
    with running(never_sweeping(bench)) as worker:
        wait_until(lambda: worker._sweeps_at > 0)
        assert worker._seconds_until_due(bench.clock(), time.monotonic()) > 3000
        bench.clock.forward(seconds=3599)
        worker.bell.ring()  # it looks at its clock again, and sees a second to wait
        wait_until(lambda: bench.statuses() == ["sent"])


def test_a_broken_connection_is_tried_again_without_a_ring(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    catchall.stop()
    bench.send()
    with running(never_sweeping(bench)) as worker:
        wait_until(lambda: len(bench.attempts()) == 1)
        catchall.start()
        bench.clock.forward(seconds=4.5)
        worker.bell.ring()
        wait_until(lambda: bench.statuses() == ["sent"])


def test_the_sweep_finds_what_nobody_rang_for(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    with running(bench.worker(pace=BRISK)) as worker:
        wait_until(lambda: worker._sweeps_at > 0)
        bench.send()
        wait_until(lambda: bench.statuses() == ["sent"])


def test_a_drain_that_goes_on_takes_back_what_a_dead_worker_had_in_hand(bench: Bench) -> None:
    """Each job of the stock worker is a new one, and under load one follows another."""
    with ScriptedServer() as server:
        number = bench.connection(server, max_sessions=2)
        left = bench.send("left@example.org")
        die_with(bench, number, left)
        bench.clock.forward(seconds=46)
        gate = Gate(server)
        bench.send()
        worker = bench.worker(pace=BRISK)
        worker.sweep()
        assert bench.message(left).status == "sending", "its worker may have been cut off"
        thread = threading.Thread(target=worker.drain)
        thread.start()
        try:
            gate.wait()
            wait_until(lambda: bench.message(left).status == "sent")
        finally:
            gate.open()
            thread.join()


def test_a_pass_that_fails_does_not_end_the_worker(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connection(catchall)
    monkeypatch.setattr(engine, "DATABASE_PAUSE", 0.01)
    original = breaker.ready
    failures: list[int] = []

    def fail_twice(connection: Any, now: datetime) -> list[int]:
        if len(failures) < 2:
            failures.append(1)
            raise LookupError("a bug")
        return original(connection, now)

    monkeypatch.setattr(breaker, "ready", fail_twice)
    bench.send()
    with running(bench.worker()):
        wait_until(lambda: bench.statuses() == ["sent"])
    assert len(failures) == 2


def test_a_sweep_that_fails_keeps_nothing_that_is_due(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connection(catchall)
    failures: list[int] = []

    def fail(core: Any, **options: Any) -> int:
        failures.append(1)
        raise LookupError("a bug")

    monkeypatch.setattr(housekeeping, "sweep", fail)
    bench.send()
    with running(bench.worker(pace=BRISK)):
        wait_until(lambda: bench.statuses() == ["sent"] and len(failures) > 2)


def test_what_becomes_due_between_two_looks_is_seen_by_the_second(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    worker = bench.worker()
    worker.sweep()
    bench.send(delay=60)
    looked_at = bench.clock()
    assert worker._start_lanes(looked_at) == 0
    bench.clock.forward(seconds=61)
    assert worker._seconds_until_due(looked_at, time.monotonic()) < 1


@contextmanager
def a_slow_message(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker one of whose lanes counts as stuck, until the gate opens."""
    monkeypatch.setattr(engine, "STUCK_AFTER", 0.0)
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server, max_sessions=2)
        bench.send()
        with running(bench.worker(pace=BRISK)) as worker:
            gate.wait()
            yield worker
            gate.open()
            wait_until(lambda: bench.statuses() == ["sent"] * 2)


def fail_meanwhile(bench: Bench, **health: Any) -> tuple[datetime, int]:
    """Have the connection due for a try, and a message that waits for it; return both."""
    now = bench.clock()
    bench.change(ConnectionHealth, **health, retry_at=now, last_failure_at=now)
    return now, bench.send()


def test_a_slow_message_does_not_keep_a_failing_connection_from_being_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_slow_message(bench, monkeypatch) as worker:
        _, second = fail_meanwhile(bench, failures=1)
        worker.bell.ring()
        wait_until(lambda: bench.message(second).status == "sent")
        [health] = bench.rows(ConnectionHealth)
        assert health.failures == 0


def test_the_try_after_a_pause_is_not_spent_on_lanes_from_before_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_slow_message(bench, monkeypatch) as worker:
        now, _ = fail_meanwhile(bench, failures=8, breaker=BreakerState.PAUSED)
        assert worker._start_lanes(bench.clock()) == 0
        [health] = bench.rows(ConnectionHealth)
        assert health.retry_at == now


def test_a_try_that_others_left_no_session_for_is_made_soon(
    each_stage: Stage, catchall: CatchAll
) -> None:
    bench = each_stage.bench
    number = bench.connection(catchall, max_sessions=1)
    bench.send()
    now = bench.clock()
    ago = now - timedelta(seconds=1)
    bench.change(
        ConnectionHealth, failures=8, breaker=BreakerState.OPEN, retry_at=ago, last_failure_at=ago
    )
    hold = {"connection_id": number, "sessions": 1, "held_until": now + timedelta(hours=1)}
    add(bench.engine, SessionHold(id="of another", **hold))
    bench.worker().drain(seconds=0)
    assert catchall.sessions == 0
    assert bench.health(number).retry_at <= bench.clock() + timedelta(seconds=engine.CROWDED_PAUSE)


def test_a_worker_shows_that_it_lives_and_signs_off(bench: Bench) -> None:
    with running(bench.worker(kind="rq", pace=BRISK)):
        wait_until(lambda: bench.rows(WorkerRow, WorkerRow.swept_at.is_not(None)))
        [row] = bench.rows(WorkerRow)
        assert (row.kind, row.pid, row.stopped_at) == ("rq", os.getpid(), None)
        wait_until(lambda: bench.rows(WorkerRow)[0].seen_at > row.seen_at)
    assert bench.rows(WorkerRow)[0].stopped_at is not None


def test_two_workers_of_one_process_have_rows_of_their_own(bench: Bench) -> None:
    with running(bench.worker()), running(bench.worker()):
        wait_until(lambda: len(bench.rows(WorkerRow)) == 2)


def test_workers_that_are_long_gone_are_forgotten(bench: Bench) -> None:
    first = presence.Presence(bench.core, "rq")
    first.sign_in(0)
    bench.clock.forward(days=2)

    presence.Presence(bench.core, "rq").sign_in(0)

    assert len(bench.rows(WorkerRow)) == 1


def test_the_heartbeat_outlives_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = bench.worker()
    beats: list[int] = []

    def fail(self: Any, sent_count: int) -> None:
        beats.append(1)
        raise LookupError("a bug")

    monkeypatch.setattr(presence.Presence, "sign_in", fail)
    worker._report()
    worker._report()
    assert len(beats) == 2


def test_a_renewal_that_fails_ends_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = bench.worker()
    leases = [worker._leases.new() for _ in range(3)]
    away, in_the_way, last = (lease.token for lease in leases)
    asked: list[str] = []

    def renew(connection: sa.Connection, token: str, numbers: Any, until: Any) -> bool:
        asked.append(token)
        if token == away:
            raise OutboxUnavailable("away")
        if asked.count(in_the_way) == 1 and token == in_the_way:
            raise Collision("in the way")
        return True

    monkeypatch.setattr(claim, "renew", renew)
    worker._report()
    assert Counter(asked) == {away: 1, in_the_way: 2, last: 1}


def test_a_lease_is_renewed_while_the_server_takes_its_time(bench: Bench) -> None:
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server)
        number = bench.send()
        with running(bench.worker(pace=BRISK)):
            gate.wait()
            first = bench.message(number).lease_until
            # Longer than the lease: the sweeps of this very worker would take it back.
            wait_until(lambda: bench.message(number).lease_until > first + BRISK.lease)
            gate.open()
            wait_until(lambda: bench.message(number).status == "sent")
    assert bench.message(number).crash_count == 0


@contextmanager
def _three_claimed(bench: Bench) -> Iterator[tuple[Worker, list[int]]]:
    """A worker with a message in flight, and two more under the same lease."""
    with ScriptedServer() as server:
        gate = Gate(server)
        bench.connection(server, max_sessions=1)
        numbers = [bench.send() for _ in range(3)]
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(supply, "FIRST_A_LANE", len(numbers))
            worker = stack.enter_context(running(bench.worker()))
            gate.wait()
            yield worker, numbers
            gate.open()


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds of the uptime have gone by, as the engine sees it."""
    began = lease.uptime()

    def set_to(seconds: float) -> None:
        for module in (lease, engine):
            monkeypatch.setattr(module, "uptime", lambda: began + seconds)

    return set_to


@pytest.mark.parametrize("taken", [0, 1], ids=["all there", "one taken"])
def test_a_lease_that_has_ended_goes_on_only_if_nobody_has_taken_a_message(
    each_stage: Stage, set_clock: Callable[[float], None], taken: int
) -> None:
    bench = each_stage.bench
    with _three_claimed(bench) as (worker, numbers):
        set_clock(2 * worker.pace.lease.total_seconds())
        [held] = worker._leases.held()
        assert not held.holds()
        bench.change(Message, Message.id.in_(numbers[:taken]), lease_token="another worker")
        before = bench.message(numbers[-1]).lease_until
        worker._report()
        assert held.holds() is not bool(taken)
        assert (bench.message(numbers[-1]).lease_until > before) is not bool(taken)


def test_a_renewal_that_had_to_wait_does_not_bring_back_what_was_taken(
    bench: Bench, set_clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease holds when its renewal begins, and has ended when the database lets it."""
    under = claim.under
    with _three_claimed(bench) as (worker, numbers):
        lasts = worker.pace.lease.total_seconds()

        def taken_meanwhile(connection: sa.Connection, token: str) -> set[int]:
            set_clock(lasts + 30)
            return under(connection, token) - {numbers[0]}

        [held] = worker._leases.held()
        monkeypatch.setattr(claim, "under", taken_meanwhile)
        set_clock(lasts - 10)
        assert held.holds()
        worker._report()
        assert not held.holds()


def test_a_beat_that_failed_is_followed_by_another_one_soon(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = bench.worker()
    waits: list[float] = []
    outcomes = iter([True, False, True])
    monkeypatch.setattr(worker, "_report", lambda: next(outcomes))

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 3

    monkeypatch.setattr(worker._ended, "wait", wait)
    worker._beat()
    usual = worker.pace.renew_every
    assert waits == [usual, engine.DATABASE_PAUSE, usual]


def test_nothing_is_sent_in_the_last_moments_of_a_lease() -> None:
    assert not Lease(timedelta(seconds=1), margin=2.0).holds()
    assert Lease(timedelta(seconds=60), margin=2.0).holds()


def test_an_idle_worker_asks_the_database_little(bench: Bench, catchall: CatchAll) -> None:
    """What a pass costs while there is nothing to do, on an outbox with three connections."""
    for number in range(3):
        bench.connection(catchall, f"No {number}")
    worker = bench.worker()
    statements: list[str] = []

    def count(link: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(bench.engine, "before_cursor_execute", count)
    worker._tick()
    worker._report()

    passes_a_minute = 60 / worker.pace.sweep_every
    assert len(statements) * passes_a_minute <= 120


def test_a_message_costs_a_fixed_number_of_statements(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    for number in range(10):
        bench.send(*(f"r{n}@example.org" for n in range(20)), subject=f"No {number}")
    statements: list[str] = []

    def count(link: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(bench.engine, "before_cursor_execute", count)
    bench.worker(sessions=1, pace=Pace(sweep_every=3600)).drain()

    assert set(bench.statuses()) == {"sent"}
    assert len(statements) < 10 * 10 + 40


def _signal(process: ServerProcess, number: signal.Signals) -> None:
    os.kill(process.pid, number)


def _kill(process: ServerProcess) -> None:
    psutil.Process(process.pid).kill()
    wait_until(lambda: not process.running)


def _multiply(bench: Bench, count: int, fields: dict[str, Any]) -> None:
    """Store so many messages with the bytes of the one that is there."""
    [first] = bench.messages()
    rows = [a_message(size=first.size, sender=first.sender, **fields) for _ in range(count)]
    add(bench.engine, *rows)
    with bench.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO smtp_admin_message_body (message_id, part, content) "
            "SELECT m.id, b.part, b.content FROM smtp_admin_message m "
            "JOIN smtp_admin_message_body b ON b.message_id = "
            f"{int(first.id)} WHERE m.id <> {int(first.id)}"
        )
    assert bench.rows(Message, Message.id == first.id)
