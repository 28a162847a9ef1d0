"""All workers together have no more sessions with a server than its connection allows.

A session counts from before it is opened until it is closed, also while it waits for the next message;
and nobody has to wait for a session that is idle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import connections
from flask_smtp_admin import worker as engine
from flask_smtp_admin.delivery import carriers, rack
from flask_smtp_admin.delivery.lease import Pace
from flask_smtp_admin.delivery.rack import Rack
from flask_smtp_admin.delivery.record import Carrier
from flask_smtp_admin.delivery.seats import Seats
from flask_smtp_admin.models import SessionHold
from flask_smtp_admin.models import Worker as WorkerRow
from flask_smtp_admin.smtp import Session
from flask_smtp_admin.worker import Worker
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll
from tests.servers.scripted import ScriptedServer, Step
from tests.test_worker import Gate, running
from tests.waiting import wait_until

LONG = timedelta(hours=1)
STEADY = Pace(lease=timedelta(seconds=20), margin=0.3, renew_every=0.5, sweep_every=0.3)
"""Leases that outlast a slow machine, and beats that a test can wait for."""


class Workers:
    """Two workers' seats at one connection, whose lanes and sessions a test makes up."""

    def __init__(self, bench: Bench, server: CatchAll, most: int) -> None:
        self.bench = bench
        self.number = bench.connection(server, max_sessions=most)
        self.racks = Rack(), Rack()
        self.one, self.other = map(Seats, self.racks)

    @property
    def carrier(self) -> Carrier:
        found = carriers.find(self.bench.core, self.number)
        assert found is not None
        return found

    def ask(self, seats: Seats, wanted: int, handed_out: int | None = None) -> int:
        """Ask for seats, and hand out so many of them; default: all."""
        with seats.asking(self.carrier) as asking:
            with self.bench.core.database.write() as connection:
                now = self.bench.core.database_time(connection)
                granted = asking.take(connection, wanted=wanted, gone=now, until=now + LONG)
            for _ in range(granted if handed_out is None else handed_out):
                assert asking.hand_out()
        return granted

    def idle(self, of: Rack, seats: Seats) -> None:
        """Have a lane go, which leaves its session."""
        seats.has_session(self.number)
        assert of.put_back(self.number, Session(self.carrier.endpoint))
        seats.leave(self.number, had_session=True)

    def settle(self, seats: Seats) -> None:
        """Tell the database what is open."""
        for number in seats.too_many():
            with self.bench.core.database.write() as connection:
                seats.write_down(connection, number)
            seats.confirm(number)

    def written(self) -> list[int]:
        return sorted(row.sessions for row in self.bench.rows(SessionHold))


def test_seats_are_shared_by_all_workers(each_bench: Bench, catchall: CatchAll) -> None:
    both = Workers(each_bench, catchall, most=3)
    assert both.ask(both.one, 2) == 2
    assert both.ask(both.other, 2) == 1
    assert both.ask(both.one, 1) == 0
    both.other.leave(both.number, had_session=False)
    both.settle(both.other)
    assert both.ask(both.one, 1) == 1
    assert both.written() == [3]


def test_busy_and_idle_sessions_count_together(bench: Bench, catchall: CatchAll) -> None:
    both = Workers(bench, catchall, most=4)
    both.ask(both.one, 4)
    for _ in range(3):
        both.idle(both.racks[0], both.one)
    assert both.ask(both.one, 1) == 1, "it uses an idle one"
    assert both.written() == [4]
    assert both.ask(both.other, 1) == 0


def test_new_lanes_use_idle_sessions_before_they_open_any(bench: Bench, catchall: CatchAll) -> None:
    both = Workers(bench, catchall, most=4)
    both.ask(both.one, 2)
    both.idle(both.racks[0], both.one)
    both.idle(both.racks[0], both.one)
    assert both.ask(both.other, 4) == 2
    assert both.ask(both.one, 4) == 2
    assert both.written() == [2, 2]


def test_what_nobody_needed_goes_back(bench: Bench, catchall: CatchAll) -> None:
    both = Workers(bench, catchall, most=2)
    assert both.ask(both.one, 2, handed_out=1) == 2
    assert both.one.too_many() == [both.number]
    both.settle(both.one)
    assert both.written() == [1]
    assert both.ask(both.other, 2) == 1


def test_a_session_that_its_lane_did_not_need_is_promised_to_nobody(
    bench: Bench, catchall: CatchAll
) -> None:
    both = Workers(bench, catchall, most=2)
    mine = both.racks[0]
    assert both.ask(both.one, 2) == 2
    both.one.has_session(both.number)  # one lane goes on
    both.idle(mine, both.one)
    assert both.ask(both.one, 1) == 1, "a lane comes, to which the idle session is promised"
    assert mine.stale(older_than=0) == []
    both.one.leave(both.number, had_session=False)
    assert len(mine.stale(older_than=0)) == 1


def test_a_try_that_failed_takes_no_seat(bench: Bench, catchall: CatchAll) -> None:
    both = Workers(bench, catchall, most=2)
    with both.one.asking(both.carrier) as asking:
        for _ in range(2):
            with bench.core.database.write() as connection:
                now = bench.core.database_time(connection)
                assert asking.take(connection, wanted=2, gone=now, until=now + LONG) == 2
    both.settle(both.one)
    assert both.written() == []


def test_sessions_from_before_a_change_count_until_they_are_closed(
    bench: Bench, catchall: CatchAll
) -> None:
    both = Workers(bench, catchall, most=2)
    both.ask(both.one, 1)
    both.idle(both.racks[0], both.one)
    connections.update(bench.core, both.number, {"reply_timeout": 21})
    assert both.ask(both.one, 2) == 1
    assert both.written() == [2]
    for session in both.racks[0].outdated(both.number, both.carrier.endpoint):
        assert both.ask(both.one, 1) == 0, "it is being closed"
        both.racks[0].end(session)
    assert both.ask(both.one, 1) == 1


def test_a_commit_that_failed_is_tried_again(bench: Bench, catchall: CatchAll) -> None:
    both = Workers(bench, catchall, most=2)
    both.ask(both.one, 2)
    both.one.leave(both.number, had_session=False)
    with bench.core.database.write() as connection:
        both.one.write_down(connection, both.number)
        connection.rollback()
    assert both.one.too_many() == [both.number]
    assert both.one.held() == [both.number]


def test_a_hold_that_was_removed_comes_back(each_bench: Bench, catchall: CatchAll) -> None:
    bench = each_bench
    both = Workers(bench, catchall, most=2)
    both.ask(both.one, 2)
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(SessionHold))
    with bench.core.database.write() as connection:
        now = bench.core.database_time(connection)
        both.one.renew(connection, both.number, now=now, until=now + LONG)
    assert both.written() == [2]
    assert both.ask(both.other, 1) == 0


def test_a_hold_that_has_ended_is_renewed_within_what_others_have_left(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    both = Workers(bench, catchall, most=3)
    both.ask(both.one, 3)

    def renewed(ended: bool) -> int:
        with bench.core.database.write() as connection:
            now = bench.core.database_time(connection)
            if ended:
                mine = SessionHold.sessions == 3
                connection.execute(sa.update(SessionHold).where(mine).values(held_until=now))
            return both.one.renew(connection, both.number, now=now, until=now + LONG)

    assert renewed(ended=False) == 0
    assert renewed(ended=True) == 0, "nobody has taken them meanwhile"
    with bench.engine.begin() as connection:
        connection.execute(sa.update(SessionHold).values(held_until=bench.clock() - LONG))
    assert both.ask(both.other, 2) == 2
    assert renewed(ended=True) == 2


def test_sessions_that_new_lanes_are_about_to_take_stay_open(
    bench: Bench, catchall: CatchAll
) -> None:
    both = Workers(bench, catchall, most=4)
    both.ask(both.one, 3)
    for _ in range(3):
        both.idle(both.racks[0], both.one)
    both.ask(both.one, 2)
    mine = both.racks[0]
    assert both.one.spare(both.number, workers=2) == 0
    assert len(mine.surplus(both.number, 0)) == 1
    assert mine.stale(older_than=0) == []
    assert mine.take(both.number, both.carrier.endpoint) is not None
    both.one.leave(both.number, had_session=False)
    both.one.leave(both.number, had_session=False)
    assert len(mine.stale(older_than=0)) == 1, "nobody takes it any more"


# ---------------------------------------------------------------- workers


@contextmanager
def _a_kept_session(bench: Bench, number: int) -> Iterator[Worker]:
    """A worker that has sent one message over a connection, and keeps its session."""
    with running(bench.worker(pace=STEADY)) as worker:
        first = bench.send(connection=number)
        worker.bell.ring()
        wait_until(lambda: bench.message(first).status == "sent")
        wait_until(lambda: worker._rack.count(number) == 1, what="an idle session")
        wait_until(lambda: [row.sessions for row in bench.rows(SessionHold)] == [1])
        yield worker


def test_a_session_that_is_kept_counts_and_carries_the_next_message(each_bench: Bench) -> None:
    bench = each_bench
    with ScriptedServer() as server:
        number = bench.connection(server, max_sessions=1)
        with _a_kept_session(bench, number) as worker:
            [kept] = bench.rows(SessionHold)
            wait_until(lambda: bench.rows(SessionHold)[0].held_until > kept.held_until)
            both = Seats(Rack())
            carrier = carriers.find(bench.core, number)
            assert carrier is not None
            with both.asking(carrier) as asking, bench.core.database.write() as connection:
                now = bench.core.database_time(connection)
                assert asking.take(connection, wanted=1, gone=now, until=now + LONG) == 0

            late = bench.send()
            worker.bell.ring()
            wait_until(lambda: bench.message(late).status == "sent")
            assert server.sessions == 1
        assert bench.rows(SessionHold) == []


def test_a_worker_is_not_crowded_out_by_sessions_of_its_own(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MESSAGES_A_LANE", 1)
    monkeypatch.setattr(engine, "CROWDED_PAUSE", 3600.0)
    bench.connection(catchall, max_sessions=2)
    sent = 0
    with running(bench.worker()) as worker:
        for messages in (1, 2, 3, 1, 2, 1, 3, 2) * 5:
            for _ in range(messages):
                bench.send()
            sent += messages
            worker.bell.ring()
            if sent % 2:  # the next ones come while the lanes are still leaving, or when they have
                wait_until(lambda: bench.statuses().count("sent") == sent)  # noqa: B023
        wait_until(lambda: bench.statuses().count("sent") == sent)
    assert catchall.sessions <= 2


def test_no_session_is_kept_open_in_the_place_of_another_worker(
    each_bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = each_bench
    monkeypatch.setattr(rack, "IDLE_SECONDS", 3600.0)
    number = bench.connection(catchall, max_sessions=1)
    with _a_kept_session(bench, number) as one, running(bench.worker(pace=STEADY)) as other:
        wait_until(lambda: len(bench.rows(WorkerRow)) == 2)
        one._report()  # now it knows of the other one
        one.bell.ring()
        wait_until(lambda: bench.rows(SessionHold) == [])
        second = bench.send()
        other.bell.ring()
        wait_until(lambda: bench.message(second).status == "sent")


@pytest.mark.parametrize("fault", ["none", "a pass that fails"])
def test_an_idle_session_that_is_closed_no_longer_counts(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def fail() -> int:
        raise LookupError("one broken row")

    with _a_kept_session(bench, bench.connection(catchall)) as worker:
        if fault != "none":
            monkeypatch.setattr(worker, "_start_lanes", fail)
        monkeypatch.setattr(rack, "IDLE_SECONDS", 0.0)
        worker.bell.ring()
        wait_until(lambda: bench.rows(SessionHold) == [])


@pytest.mark.parametrize("way", ["run", "drain"])
def test_nobody_waits_for_the_idle_session_of_a_worker_that_is_busy_elsewhere(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It is being stopped while one server takes its time, or it drains a long queue."""
    with ScriptedServer() as slow:
        gate = Gate(slow)
        bench.connection(catchall, "Fast", max_sessions=1)
        bench.connection(slow, "Slow", max_sessions=1)
        first, behind = bench.send(connection="Fast"), bench.send(connection="Slow")
        worker = bench.worker(pace=STEADY, sessions=1)
        thread = threading.Thread(target=getattr(worker, way), daemon=True)
        thread.start()
        wait_until(lambda: bench.message(first).status == "sent")
        gate.wait()
        if way == "run":
            worker.stop()
        else:
            monkeypatch.setattr(rack, "IDLE_SECONDS", 0.0)
        late = bench.send(connection="Fast")
        with running(bench.worker(pace=STEADY)):
            wait_until(lambda: bench.message(late).status == "sent")
            assert bench.message(behind).status == "sending"
            gate.open()
            thread.join()


def test_a_session_that_says_goodbye_counts_until_it_is_closed(bench: Bench) -> None:
    with ScriptedServer() as server:
        gate, reached = threading.Event(), threading.Event()

        def slow(peer: Any) -> None:
            reached.set()
            while not (gate.wait(0.01) or server.stopping.is_set()):
                pass
            peer.say("221 2.0.0 bye")

        server.on(Step.QUIT, slow)
        bench.connection(server, max_sessions=1, messages_per_session=1)
        bench.send()
        with running(bench.worker(pace=STEADY)):
            wait_until(reached.is_set, what="the end of the first session")
            assert [row.sessions for row in bench.rows(SessionHold)] == [1]
            gate.set()
            wait_until(lambda: bench.rows(SessionHold) == [])


def test_connections_to_the_same_server_have_seats_of_their_own(
    bench: Bench, catchall: CatchAll
) -> None:
    one = bench.connection(catchall, "One", max_sessions=5)
    other = bench.connection(catchall, "Other", max_sessions=5)
    with _a_kept_session(bench, one) as worker:
        number = bench.send(connection="Other")
        worker.bell.ring()
        wait_until(lambda: bench.message(number).status == "sent")
        wait_until(lambda: worker._rack.count(other) == 1)
        wait_until(
            lambda: (
                {row.connection_id: row.sessions for row in bench.rows(SessionHold)}
                == {one: 1, other: 1}
            )
        )


def test_a_connection_that_was_changed_is_used_as_it_is_now(bench: Bench) -> None:
    with ScriptedServer() as server:
        number = bench.connection(server, max_sessions=1)
        with _a_kept_session(bench, number) as worker:
            connections.update(bench.core, number, {"reply_timeout": 21})
            late = bench.send()
            worker.bell.ring()
            wait_until(lambda: bench.message(late).status == "sent")
            assert server.sessions == 2
            wait_until(lambda: worker._rack.count(number) == 1)
            assert [row.sessions for row in bench.rows(SessionHold)] == [1]


def others_take_all(bench: Bench, number: int) -> None:
    """As when this process was stopped for longer than its hold lasts."""
    with bench.engine.begin() as connection:
        connection.execute(sa.update(SessionHold).values(held_until=bench.clock() - LONG))
    carrier = carriers.find(bench.core, number)
    assert carrier is not None
    most = carrier.max_sessions
    with Seats(Rack()).asking(carrier) as asking, bench.core.database.write() as connection:
        now = bench.core.database_time(connection)
        assert asking.take(connection, wanted=most, gone=now, until=now + LONG) == most


def test_an_idle_session_is_ended_that_others_have_now(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rack, "IDLE_SECONDS", 3600.0)
    number = bench.connection(catchall, max_sessions=1)
    with _a_kept_session(bench, number) as worker:
        others_take_all(bench, number)
        wait_until(lambda: worker._rack.count(number) == 0)


def test_the_session_of_a_lane_is_ended_that_others_have_now(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rack, "IDLE_SECONDS", 3600.0)
    with ScriptedServer() as server:
        gate = Gate(server)
        number = bench.connection(server, max_sessions=1)
        in_hand, behind = bench.send(), bench.send()
        with running(bench.worker(pace=STEADY)) as worker:
            gate.wait()
            others_take_all(bench, number)
            [place] = worker._supplies.open()[0]._places
            wait_until(lambda: place.is_to_leave)
            gate.open()
            wait_until(lambda: bench.message(in_hand).status == "sent")
            wait_until(lambda: not worker._busy())
            wait_until(lambda: worker._rack.count(number) == 0)
            assert bench.message(behind).status == "queued"
