"""What one connection, server, receiver or worker must not take from the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from flask_smtp_admin import connections
from flask_smtp_admin import worker as engine
from flask_smtp_admin.connections import writes
from flask_smtp_admin.database import in_the_end
from flask_smtp_admin.delivery import holds, supplies
from flask_smtp_admin.delivery.lease import Pace
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Message, SessionHold
from flask_smtp_admin.outbox import SendOptions, acts, enqueue_many, inserting
from flask_smtp_admin.signals import Event
from flask_smtp_admin.smtp import Draft, freeze
from flask_smtp_admin.worker import Worker
from tests.delivery.bench import BRISK, Bench, a_bench, connection_of
from tests.servers.catchall import CatchAll
from tests.servers.scripted import Peer, ScriptedServer, Step, silence
from tests.test_worker import Gate, running
from tests.waiting import wait_until


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    with a_bench(sqlite_url) as made:
        yield made


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize("sessions", [1, 4])
def test_a_long_queue_of_one_connection_keeps_no_other_waiting(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch, sessions: int
) -> None:
    monkeypatch.setattr(supplies, "TURN_SECONDS", 0.0)
    with CatchAll() as busy:
        busy.answer_after(0.02)
        bench.connection(busy, "Bulk", max_sessions=4)
        bench.connection(catchall, "Resets")
        for _ in range(200):
            bench.send(connection="Bulk", priority="low")
        with running(bench.worker(sessions=sessions)) as worker:
            busy.wait_for(5)
            bench.send(connection="Resets")
            worker.bell.ring()
            catchall.wait_for(1)
            assert len(busy.messages) < 200
            busy.answer_after(0)
            busy.wait_for(200)
    assert bench.statuses() == ["sent"] * 201


def test_who_has_waited_longest_comes_next(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not who comes first in the list: the lane that has just made room would be there again."""
    monkeypatch.setattr(supplies, "TURN_SECONDS", 0.2)
    with CatchAll() as busy, CatchAll() as other:
        for name, server in (("Bulk", busy), ("Other", other)):
            server.answer_after(0.01)
            bench.connection(server, name, max_sessions=4)
        bench.connection(catchall, "Resets")
        for _ in range(500):
            bench.send(connection="Bulk", priority="low")
            bench.send(connection="Other", priority="low")
        with running(bench.worker(sessions=1)) as worker:
            busy.wait_for(5)
            bench.send(connection="Resets", priority="high")
            worker.bell.ring()
            catchall.wait_for(1)
            assert len(busy.messages) + len(other.messages) < 1000


@pytest.mark.parametrize("step", [Step.BANNER, Step.DOT])
def test_a_silent_server_keeps_no_other_connection_waiting(
    bench: Bench,
    catchall: CatchAll,
    scripted: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    monkeypatch.setattr(engine, "STUCK_AFTER", 0.2)
    scripted.always(step, silence)
    patience = {"reply_timeout": 600, "final_timeout": 600}
    bench.connection(scripted, "Silent", max_sessions=4, **patience)
    bench.connection(catchall, "Resets")
    for _ in range(60):
        bench.send(connection="Silent")
    with running(bench.worker(sessions=4)) as worker:
        wait_until(lambda: scripted.sessions == 4, what="all sessions")
        bench.send(connection="Resets")
        worker.bell.ring()
        catchall.wait_for(1)
        scripted.stopping.set()


def test_what_an_old_server_says_breaks_no_new_one(
    bench: Bench, catchall: CatchAll, scripted: ScriptedServer
) -> None:
    gate = Gate(scripted, "454 4.7.0 too many messages, rate limit")
    number = bench.connection(scripted)
    first = bench.send()
    with running(bench.worker(pace=BRISK)) as worker:
        gate.wait()
        connections.update(bench.core, number, {"host": catchall.host, "port": catchall.port})
        bench.send()
        worker.bell.ring()
        catchall.wait_for(1)
        gate.open()
        wait_until(lambda: bench.attempts(first), what="the outcome")
        health = bench.health(number)
        assert (health.breaker, health.failures) == (BreakerState.CLOSED, 0)


def test_a_try_of_a_broken_connection_that_tried_nothing_is_made_soon(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bench.connection(catchall)
    now = bench.clock()
    bench.change(ConnectionHealth, failures=8, breaker=BreakerState.OPEN, retry_at=now)
    held = bench.send()
    worker = bench.worker()
    start = worker._start_lanes_of

    def late(connection: int, due: int) -> int:
        acts.hold(bench.core, Message.id == held)  # between the look and the claim
        return start(connection, due)

    monkeypatch.setattr(worker, "_start_lanes_of", late)
    worker.drain_alone()
    assert catchall.sessions == 0
    assert bench.health(number).retry_at < bench.clock() + timedelta(seconds=30)


def test_a_lane_that_finds_nothing_is_not_followed_by_the_next_at_once(
    bench: Bench, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "EMPTY_PAUSE", 60.0)
    gate = Gate(scripted)
    number = bench.connection(scripted, limit_per_hour=1)
    bench.send()
    with running(bench.worker()) as worker:
        gate.wait()
        bench.send()  # which the limit keeps, while the first is under way
        worker.bell.ring()
        wait_until(lambda: worker._rests(number), what="a lane that found nothing")
        gate.open()
    assert sorted(bench.statuses()) == ["queued", "sent"]


def test_a_drain_sees_what_its_last_lane_gives_back(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bench.connection(catchall, max_sessions=1)
    for _ in range(3):
        bench.send()
    worker = bench.worker()
    look = worker._start_lanes
    is_first = iter([True])

    def slow_look() -> int:
        found = look()
        if found == 0 and next(is_first, False):
            # The connection is saved meanwhile, so that its lane ends with messages in hand.
            bench.change(Connection, Connection.id == number, updated_at=bench.clock())
            catchall.answer_after(0)
            wait_until(lambda: not worker._busy(), what="the end of the lane")
        return found

    monkeypatch.setattr(worker, "_start_lanes", slow_look)
    catchall.answer_after(0.5)
    worker.drain()
    assert bench.statuses() == ["sent"] * 3


def test_a_rest_that_ends_between_two_looks_is_seen_by_the_second(bench: Bench) -> None:
    worker = bench.worker()
    worker._sweeps_at = looked = time.monotonic() + 1000
    worker._rests_until[1] = looked - 1001  # it was on when due messages were looked for
    assert worker._seconds_until_due(bench.clock(), since=looked - 1002) < 1


def test_a_message_is_stored_though_its_connection_is_deleted_at_that_moment(
    database_url: str, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_bench(database_url) as bench:
        first, second = (bench.connection(catchall, name) for name in ("First", "Second"))
        stored = inserting.insert
        is_first = iter([True])

        def late(*given: Any) -> list[int]:
            if next(is_first, False):
                # What the database says of a connection that is gone by the time of the commit.
                raise IntegrityError("INSERT", {}, Exception("FOREIGN KEY constraint failed"))
            return stored(*given)

        monkeypatch.setattr(inserting, "insert", late)
        connections.delete(bench.core, first)
        assert bench.message(bench.send()).connection_id == second


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("place", ["postgres", "mariadb"])
def test_messages_are_stored_though_what_was_chosen_for_them_is_deleted(
    place: str,
    count: int,
    request: pytest.FixtureRequest,
    catchall: CatchAll,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the choice and the insert, where those are two statements."""
    with a_bench(request.getfixturevalue(f"{place}_url")) as bench:
        first, _ = (bench.connection(catchall, name) for name in ("First", "Second"))
        choose = inserting._choose

        def chosen(*given: Any) -> None:
            choose(*given)
            if bench.rows(Connection, Connection.id == first):
                connections.delete(bench.core, first)

        monkeypatch.setattr(inserting, "_choose", chosen)
        draft = Draft(subject="x", sender="shop@example.org", to=("ann@example.org",), text="x")
        frozen = [freeze(draft, now=bench.clock()) for _ in range(count)]
        stored = enqueue_many(bench.core, frozen, SendOptions())

        there = {row.id for row in bench.rows(Connection)}
        assert {bench.message(one.id).connection_id for one in stored} <= there


@pytest.mark.parametrize("place", ["postgres", "mariadb"])
def test_a_connection_can_be_saved_while_a_worker_asks_for_its_sessions(
    place: str,
    request: pytest.FixtureRequest,
    catchall: CatchAll,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both lock the connection and its health, in opposite orders: the database ends one of them."""
    with a_bench(request.getfixturevalue(f"{place}_url")) as bench:
        number = bench.connection(catchall)
        is_saving, has_locked = threading.Event(), threading.Event()
        reset_health = writes.reset_health

        def reset(session: Any, connection_id: int) -> None:
            is_saving.set()
            has_locked.wait()
            reset_health(session, connection_id)

        def ask() -> None:
            is_saving.wait()
            with bench.core.database.write() as connection:
                holds.lock(connection, number)
                has_locked.set()
                holds.put(connection, "a hold", number, 1, bench.clock())

        monkeypatch.setattr(writes, "reset_health", reset)
        asking = threading.Thread(target=in_the_end, args=(ask,))
        asking.start()
        connections.update(bench.core, number, {"caption": "Renamed"})
        asking.join()
        assert connection_of(bench, number).caption == "Renamed"
        assert len(bench.rows(SessionHold)) == 1


# ---------------------------------------------------------------- receivers of the host


class Slow:
    """A receiver that takes until it is let go, with the first event of a code."""

    def __init__(self, bench: Bench, code: str) -> None:
        self.is_called = threading.Event()
        self.may_go = threading.Event()
        self._code = code
        self.core = replace(bench.core, publish=self._hear)

    def _hear(self, event: Event) -> None:
        if event.code == self._code:
            self.is_called.set()
            self.may_go.wait(60)


def test_a_receiver_of_what_the_sweep_found_keeps_nothing_waiting(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    slow = Slow(bench, "final_delivery_failed")
    late = bench.send()
    bench.change(Message, Message.id == late, expires_at=bench.clock() - timedelta(seconds=1))
    with running(Worker(slow.core, kind="test", pace=BRISK)) as worker:
        slow.is_called.wait()
        bench.send()
        worker.bell.ring()
        catchall.wait_for(1)
        slow.may_go.set()


def test_while_a_receiver_takes_its_time_nothing_is_in_flight_and_outcomes_are_known(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall, max_sessions=1)
    slow = Slow(bench, "message_sent")
    for _ in range(4):
        bench.send()
    with running(Worker(slow.core, kind="test", pace=BRISK)):
        slow.is_called.wait()
        # The second had been marked before; it went meanwhile.
        wait_until(lambda: bench.statuses().count("sent") == 2, what="the outcome of the second")
        assert bench.in_flight() == {}
        assert len(catchall.messages) == 2
        slow.may_go.set()
        wait_until(lambda: bench.statuses() == ["sent"] * 4, what="the others")


def test_receivers_of_what_the_sweep_found_are_called_one_after_the_other(
    bench: Bench, catchall: CatchAll
) -> None:
    """There may be very many, and each may want a connection of the database."""
    bench.connection(catchall)
    for _ in range(40):
        bench.send()
    bench.change(Message, expires_at=bench.clock() - timedelta(seconds=1))
    called: list[Event] = []
    may_go = threading.Event()

    def note(event: Event) -> None:
        if event.code == "final_delivery_failed":
            called.append(event)
            may_go.wait(60)

    with running(Worker(replace(bench.core, publish=note), kind="test")) as worker:
        wait_until(lambda: called, what="a receiver")
        bench.send()
        worker.bell.ring()
        catchall.wait_for(1)  # by then the others would have been called, too
        assert len(called) == 1
        may_go.set()
        wait_until(lambda: len(called) == 40, what="all receivers")


def test_what_a_sweep_after_a_drain_finds_is_told_before_it_returns(
    bench: Bench, catchall: CatchAll
) -> None:
    """The process may end then."""
    bench.connection(catchall)
    told_by: list[threading.Thread] = []

    def note(event: Event) -> None:
        if event.code == "final_delivery_failed":
            told_by.append(threading.current_thread())

    worker = Worker(replace(bench.core, publish=note), kind="test")
    worker.drain()
    bench.send()
    bench.change(Message, expires_at=bench.clock() - timedelta(seconds=1))
    worker.sweep()
    assert told_by == [threading.current_thread()]


def test_receivers_that_hang_keep_no_session_from_others(bench: Bench, catchall: CatchAll) -> None:
    with CatchAll() as server, CatchAll() as other:
        bench.connection(server, "One", max_sessions=2)
        bench.connection(other, "Another", max_sessions=2)
        bench.connection(catchall, "Resets")
        may_go = threading.Event()

        def hang(event: Event) -> None:
            if event.code == "message_sent":
                may_go.wait(60)

        with running(Worker(replace(bench.core, publish=hang), kind="test", sessions=2)) as worker:
            for name, its in (("One", server), ("Another", other)):
                bench.send(connection=name)
                worker.bell.ring()
                its.wait_for(1)
            wait_until(lambda: bench.statuses() == ["sent", "sent"], what="their outcomes")
            bench.send(connection="Resets")
            worker.bell.ring()
            catchall.wait_for(1)
            may_go.set()


@pytest.mark.parametrize("is_heard", [False, True], ids=["nobody hears", "a receiver is at work"])
def test_an_outcome_that_cannot_be_written_is_no_fault_of_the_others(
    bench: Bench, catchall: CatchAll, *, is_heard: bool
) -> None:
    """They are sent as soon as the database takes it, or when its lease has ended."""
    bench.connection(catchall, max_sessions=1)
    for _ in range(6):
        bench.send()
    _sql(
        bench,
        "CREATE TRIGGER no BEFORE INSERT ON smtp_admin_attempt WHEN NEW.message_id = 2 "
        "BEGIN SELECT RAISE(ABORT, 'no'); END",
    )

    may_go = threading.Event()

    def hear(event: Event) -> None:
        if is_heard and event.code == "message_sent":
            may_go.wait(60)

    with running(Worker(replace(bench.core, publish=hear), kind="test", pace=BRISK)) as worker:
        catchall.wait_for(2)
        wait_until(lambda: not worker._leases.held(), what="the end of all leases")
        _sql(bench, "DROP TRIGGER no")
        may_go.set()
        wait_until(lambda: bench.statuses() == ["sent"] * 6, what="all outcomes")
        wait_until(lambda: not worker._leases.held(), what="the end of all leases")
    assert [row.crash_count for row in bench.messages()[2:]] == [0] * 4


def _sql(bench: Bench, words: str) -> None:
    with bench.engine.begin() as connection:
        connection.execute(sa.text(words))


# ---------------------------------------------------------------- the end of a process


def test_a_server_that_has_a_message_is_heard_out_at_the_end_of_a_process(
    bench: Bench, scripted: ScriptedServer
) -> None:
    """Beyond the time that it has for its other replies: otherwise it would get it again."""
    patience = 3.0

    def slow(peer: Peer) -> None:
        wait_until(lambda: time.monotonic() > began_at + patience + 1, what="that time's end")
        assert peer.offered is not None
        peer.accept(peer.offered, "250 2.0.0 taken")

    scripted.always(Step.DOT, slow)
    bench.connection(scripted)
    bench.send()
    began_at = time.monotonic()
    assert bench.worker().drain_alone(seconds=patience, patience=patience) == 1
    assert bench.statuses() == ["sent"]
    assert len(scripted.accepted) == 1


# ---------------------------------------------------------------- workers


def test_who_was_stopped_gives_up_the_sessions_that_others_have_taken(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    catchall.answer_after(0.02)
    bench.connection(catchall, max_sessions=1)
    for _ in range(300):
        bench.send()
    pace = Pace(lease=timedelta(seconds=60), renew_every=0.5, sweep_every=0.5)
    one, other = bench.worker(pace=pace), bench.worker(pace=pace)
    monkeypatch.setattr(one, "_renew_hold", lambda number: None)
    with running(one):
        catchall.wait_for(3)
        # As it is after a stop for longer than the hold, by the clock of the database.
        bench.change(SessionHold, held_until=bench.clock() - timedelta(seconds=1))
        with running(other):
            wait_until(lambda: len(bench.rows(SessionHold)) == 2, what="the other one's hold")
            monkeypatch.undo()
            wait_until(lambda: not one._busy(), what="the end of the lane that has no seat")
            assert "queued" in bench.statuses(), "it was over before it began"
            catchall.answer_after(0)
            wait_until(lambda: bench.statuses() == ["sent"] * 300, what="all messages")
    with bench.engine.connect() as connection:
        assert not connection.scalar(sa.select(sa.func.count()).select_from(SessionHold))


def test_all_sessions_are_ended_at_the_same_time(bench: Bench, scripted: ScriptedServer) -> None:
    parting: list[Peer] = []
    may_go = threading.Event()

    def part(peer: Peer) -> None:
        parting.append(peer)
        may_go.wait(60)

    scripted.always(Step.QUIT, part)
    bench.connection(scripted, max_sessions=4)
    for _ in range(60):
        bench.send()
    worker = bench.worker(sessions=4)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    wait_until(lambda: bench.statuses() == ["sent"] * 60, what="all messages")
    wait_until(lambda: not worker._busy(), what="idle sessions")
    count = worker._rack.count(1)
    worker.stop()
    wait_until(lambda: len(parting) == count, what="QUIT over each session")
    still_open = [peer for peer in parting if _is_open(peer)]
    may_go.set()
    thread.join()
    assert count > 1
    assert len(still_open) == count, "one waited for the end of another"


def _is_open(peer: Peer) -> bool:
    peer.sock.setblocking(False)
    try:
        return peer.sock.recv(1) != b""
    except BlockingIOError:
        return True
