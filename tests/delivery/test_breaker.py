"""Trouble of a connection: its messages wait and spend nothing, until it works again."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import connections, outbox
from flask_smtp_admin.delivery import breaker
from flask_smtp_admin.delivery.breaker import Trouble
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Message
from tests.delivery.bench import Bench
from tests.rows import a_connection, add
from tests.servers.catchall import CatchAll
from tests.servers.process import HOST, free_port
from tests.servers.scripted import (
    PASSWORD,
    USERNAME,
    ScriptedServer,
    Step,
    identity,
    say,
    self_signed,
)


class Nowhere:
    """A port on which nobody listens."""

    host = HOST

    def __init__(self) -> None:
        self.port = free_port()


def test_a_refused_connection_lets_messages_wait_and_costs_no_try(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    connection = bench.connection(catchall)
    catchall.stop()
    first, second = bench.send(), bench.send()

    bench.work()

    assert bench.statuses() == ["queued", "queued"]
    assert [message.attempts_count for message in bench.messages()] == [0, 0]
    [attempt] = bench.attempts()
    assert (attempt.message_id, attempt.status, attempt.counted) == (first, "FAIL", False)
    assert attempt.stage == "connect"
    health = bench.health(connection)
    assert (health.failures, health.breaker) == (1, BreakerState.CLOSED)
    assert health.failing_since is not None
    assert bench.work() == 0
    assert len(bench.attempts()) == 1, "it rests for some seconds"

    catchall.start()
    bench.clock.forward(seconds=6)
    assert bench.work() == 2
    assert bench.message(second).status == "sent"
    assert bench.health(connection).failures == 0


def test_five_failures_open_the_breaker_with_one_event_and_success_closes_it(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    connection = bench.connection(catchall)
    catchall.stop()
    for _ in range(20):
        bench.send()

    waits = []
    for _ in range(9):
        bench.work()
        health = bench.health(connection)
        waits.append(round((health.retry_at - bench.clock()).total_seconds()))
        bench.clock.forward(seconds=waits[-1] + 1)

    assert waits == [5, 10, 20, 30, 60, 120, 300, 600, 600]
    assert bench.health(connection).breaker is BreakerState.OPEN
    assert len(bench.attempts()) == 9, "one line a try, however many messages wait"
    assert bench.codes().count("connection_failed") == 1
    [failed] = bench.told("connection_failed")
    assert (failed.connection, failed.stage, failed.port) == ("Main", "connect", catchall.port)
    assert failed.next_attempt_at is not None

    catchall.start()
    assert bench.work() == 20
    assert bench.codes().count("connection_recovered") == 1
    health = bench.health(connection)
    assert (health.breaker, health.failures, health.retry_at) == (BreakerState.CLOSED, 0, None)
    assert health.failing_since is None


def test_a_name_that_does_not_exist_is_trouble_of_the_connection(bench: Bench) -> None:
    class Unknown:
        host, port = "no-such-host.invalid", 25

    connection = bench.connection(Unknown())
    number = bench.send()

    bench.work()

    assert bench.message(number).attempts_count == 0
    assert bench.health(connection).last_stage == "resolve"


def test_a_refused_login_opens_the_breaker_at_once_and_a_change_closes_it(
    bench: Bench, scripted: ScriptedServer
) -> None:
    connection = bench.connection(
        scripted, use_auth=True, username=USERNAME, password="wrong", allow_plain_auth=True
    )
    number = bench.send()

    bench.work()

    health = bench.health(connection)
    assert (health.breaker, health.last_code) == (BreakerState.OPEN, 535)
    assert health.last_advice
    assert (health.retry_at - bench.clock()).total_seconds() > 50
    bench.work()
    assert len(bench.attempts()) == 1, "a refused login is not repeated"
    assert bench.message(number).attempts_count == 0
    assert "wrong" not in str(bench.attempts()[0].dialogue)

    connections.update(bench.core, connection, {"password": PASSWORD, "confirm_password": PASSWORD})
    assert bench.work() == 1


@pytest.mark.parametrize("reply", ["452 4.7.0 rate limit exceeded", "550 5.4.5 daily quota"])
def test_a_quota_pauses_the_connection_and_is_told_once(
    bench: Bench, catchall: CatchAll, reply: str
) -> None:
    connection = bench.connection(catchall)
    catchall.answer_sender(reply)
    numbers = [bench.send() for _ in range(5)]

    for _ in range(3):
        bench.work()
        bench.clock.forward(minutes=11)

    assert bench.health(connection).breaker is BreakerState.PAUSED
    assert bench.codes().count("connection_failed") == 1
    assert all(bench.message(number).attempts_count == 0 for number in numbers)
    catchall.forget_answers()
    bench.clock.forward(minutes=11)
    assert bench.work() == 5
    assert bench.codes().count("connection_recovered") == 1


QUOTA = Trouble(stage="mail", reason="Too much for now.", quota=True)
REFUSED = Trouble(stage="connect", reason="It is gone.", opens_breaker=True)


class Health:
    """The health of one connection, whose successes and failures a test writes."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.row = a_connection()
        add(bench.engine, self.row)
        self.now = bench.clock()

    def fails(self, trouble: Trouble) -> None:
        with self._bench.core.database.write() as connection:
            breaker.note_failure(connection, self.row.id, trouble, self.now)

    def works(self, *, message: float, lane: float) -> bool:
        """Write a success; the times are seconds from now at which its message and lane began."""
        began = connections.Began(
            message=self.now + timedelta(seconds=message), lane=self.now + timedelta(seconds=lane)
        )
        later = self.now + timedelta(seconds=5)
        with self._bench.core.database.write() as connection:
            return connections.note_success(connection, self.row.id, later, began).recovered

    @property
    def state(self) -> str:
        return str(self._bench.health(self.row.id).breaker)


def test_a_message_from_before_does_not_say_that_the_connection_works_again(
    each_bench: Bench,
) -> None:
    health = Health(each_bench)
    health.fails(REFUSED)
    assert not health.works(message=-1, lane=-1)
    assert health.state == "open"
    assert each_bench.health(health.row.id).last_ok_at is not None
    assert health.works(message=1, lane=-1)
    assert health.state == "closed"


def test_only_who_began_after_it_ends_a_pause_that_the_server_asked_for(each_bench: Bench) -> None:
    health = Health(each_bench)
    health.fails(QUOTA)
    assert not health.works(message=1, lane=-1)
    assert health.state == "paused"
    assert health.works(message=1, lane=1)
    assert health.state == "closed"


def test_a_success_leaves_the_pause_for_a_limit_of_ours(each_bench: Bench) -> None:
    bench, health = each_bench, Health(each_bench)
    until = health.now + timedelta(minutes=10)
    bench.change(ConnectionHealth, breaker=BreakerState.PAUSED, retry_at=until)
    assert not health.works(message=1, lane=1)
    assert health.state == "paused"
    bench.change(ConnectionHealth, retry_at=health.now)
    assert not health.works(message=1, lane=1)
    assert health.state == "closed"


OLD = "expired"
NAMES: dict[str, tuple[str, ...]] = {OLD: (), "name": ("other.example",)}


@pytest.mark.parametrize(
    ("kind", "advice"), [(OLD, "clock"), ("self-signed", "CA certificate"), ("name", "name")]
)
def test_a_bad_certificate_stops_the_connection_and_not_a_message(
    bench: Bench, kind: str, advice: str
) -> None:
    made = self_signed() if kind == "self-signed" else identity(*NAMES[kind], expired=kind == OLD)
    with ScriptedServer(tls=made) as server:
        # The authority of the wrong name and of the expired one is trusted: only they are wrong.
        trusted = None if kind == "self-signed" else made.ca_pem
        connection = bench.connection(server, encryption="starttls", ca_certificate=trusted)
        number = bench.send()

        bench.work()

    assert bench.message(number).attempts_count == 0
    health = bench.health(connection)
    assert health.last_stage == "tls"
    assert advice in health.last_advice
    assert server.accepted == []


def test_a_retry_by_a_person_tries_a_broken_connection_at_once(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    catchall.stop()
    number = bench.send()
    for _ in range(6):
        bench.work()
        bench.clock.forward(minutes=1)
    bench.work()
    catchall.start()
    assert bench.work() == 0, "its next probe is not due yet"

    outbox.retry(bench.core, Message.id == number)

    assert bench.work() == 1


def test_the_log_of_the_worker_tells_that_a_connection_fails_and_works_again(
    bench: Bench, catchall: CatchAll, caplog: pytest.LogCaptureFixture
) -> None:
    number = bench.connection(catchall)
    bench.change(Connection, Connection.id == number, port=free_port())
    bench.send()
    for _ in range(5):
        bench.work()
        bench.clock.forward(minutes=11)
    [said] = [record.message for record in caplog.records if "cannot be used" in record.message]
    assert "'Main'" in said
    assert "Its messages wait" in said

    bench.change(Connection, Connection.id == number, port=catchall.port)
    bench.work()
    assert "The connection 'Main' works again." in caplog.text


def test_a_probe_is_taken_by_one_worker_alone(each_bench: Bench) -> None:
    bench = each_bench
    row = a_connection(health={"failures": 6, "breaker": BreakerState.OPEN})
    add(bench.engine, row)
    start = threading.Barrier(4)
    took: list[bool] = []

    def probe() -> None:
        start.wait()
        with bench.core.database.write() as connection:
            took.append(breaker.take_probe(connection, row.id, bench.clock()) is not None)

    threads = [threading.Thread(target=probe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(took) == [False, False, False, True]
    with bench.core.database.read() as connection:
        assert breaker.ready(connection, bench.clock()) == []


@pytest.mark.parametrize("fails_meanwhile", [False, True])
def test_a_try_that_could_not_be_made_is_put_back_unless_another_one_failed(
    each_bench: Bench, fails_meanwhile: bool
) -> None:
    bench = each_bench
    row = a_connection(health={"failures": 1})
    add(bench.engine, row)
    soon = bench.clock() + timedelta(seconds=1)
    with bench.core.database.write() as connection:
        reserved = breaker.take_probe(connection, row.id, bench.clock())
        assert reserved is not None
        if fails_meanwhile:
            trouble = Trouble(stage="connect", reason="It is gone.")
            _, retry_at = breaker.note_failure(connection, row.id, trouble, bench.clock())
            assert retry_at > reserved

        breaker.put_back_probe(connection, row.id, reserved, soon)

    assert bench.health(row.id).retry_at == (retry_at if fails_meanwhile else soon)


def test_failures_at_the_same_moment_all_count_and_one_of_them_is_the_fifth(
    each_bench: Bench,
) -> None:
    bench = each_bench
    row = a_connection()
    add(bench.engine, row)
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(ConnectionHealth))
    start = threading.Barrier(8)
    opened: list[bool] = []

    def note() -> bool:
        # A database may end a transaction to let another one through; a lane writes again then.
        trouble = Trouble(stage="connect", reason="It is gone.")
        while True:
            with suppress(OutboxUnavailable), bench.core.database.write() as connection:
                return breaker.note_failure(connection, row.id, trouble, bench.clock())[0]

    def fail() -> None:
        start.wait()
        opened.append(note())

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 8
    assert opened.count(True) == 1
    assert bench.health(row.id).failures == 8


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_a_connection_without_a_row_of_health_gets_one_when_it_fails(
    each_bench: Bench, catchall: CatchAll, outcome: str
) -> None:
    bench = each_bench
    connection = bench.connection(catchall)
    with bench.engine.begin() as link:
        link.execute(sa.delete(ConnectionHealth))
    if outcome == "failure":
        catchall.stop()
    number = bench.send()

    bench.work()

    assert bench.message(number).status == ("sent" if outcome == "success" else "queued")
    health = bench.health(connection)
    assert (health.failures if health else 0) == (0 if outcome == "success" else 1)


def test_sessions_that_fail_side_by_side_count_once(bench: Bench, catchall: CatchAll) -> None:
    connection = bench.connection(catchall, max_sessions=4)
    catchall.stop()
    for _ in range(100):
        bench.send()

    bench.worker(sessions=4).drain()

    assert bench.health(connection).failures == 1
    assert set(bench.statuses()) == {"queued"}


def test_an_unreadable_password_is_trouble_of_its_connection_alone(
    bench: Bench, catchall: CatchAll
) -> None:
    broken = bench.connection(
        catchall, "Broken", use_auth=True, username="alice", password="x", position=1
    )
    bench.change(Connection, Connection.id == broken, password_token="garbage")
    bench.connection(catchall, "Fine", position=0)
    stuck = bench.send(connection="Broken")
    good = bench.send()

    bench.work()
    bench.work()

    assert (bench.message(stuck).status, bench.message(good).status) == ("queued", "sent")
    assert bench.health(broken).breaker is BreakerState.OPEN
    assert bench.codes().count("connection_failed") == 1


# ---------------------------------------------------------------- changed in the middle


def deleted_by_hand(bench: Bench, connection_id: int) -> None:
    connections.delete(bench.core, connection_id)


@pytest.mark.parametrize("end", ["250 2.0.0 taken", "451 4.3.0 later", None])
def test_a_connection_deleted_while_it_carries_a_message_loses_no_outcome(
    each_bench: Bench, scripted: ScriptedServer, catchall: CatchAll, end: str | None
) -> None:
    bench = each_bench
    leaving = bench.connection(scripted, "Leaving")
    bench.connection(catchall, "Staying", position=1)
    number = bench.send()

    def delete_and_answer(peer: Any) -> None:
        deleted_by_hand(bench, leaving)
        if end is None:
            raise OSError("hang up")
        peer.say(end)

    scripted.on(Step.DOT, delete_and_answer)
    bench.work()

    message = bench.message(number)
    assert message.status == ("sent" if end and end.startswith("2") else "queued")
    [attempt] = bench.attempts(number)
    assert attempt.status == ("SUCCESS" if message.status == "sent" else "FAIL")
    if message.status == "queued":
        bench.clock.forward(minutes=2)
        worker = bench.worker()
        worker.sweep()
        assert worker.drain_alone() == 1
        assert len(catchall.messages) == 1


def test_a_lane_goes_on_with_a_connection_as_it_is_now(
    bench: Bench, scripted: ScriptedServer, catchall: CatchAll
) -> None:
    connection = bench.connection(scripted)
    for _ in range(3):
        bench.send()

    def edit(peer: Any) -> None:
        connections.update(bench.core, connection, {"port": catchall.port})
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, edit)
    bench.work()

    assert bench.statuses() == ["sent"] * 3
    assert len(catchall.messages) == 2


def test_a_connection_that_is_switched_off_carries_nothing_more(
    bench: Bench, scripted: ScriptedServer, catchall: CatchAll
) -> None:
    connection = bench.connection(scripted, "Off soon")
    bench.connection(catchall, "Other", position=1)
    pinned = [bench.send(connection="Off soon") for _ in range(2)]
    free = [bench.send() for _ in range(2)]

    def disable(peer: Any) -> None:
        connections.disable(bench.core, connection)
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, disable)
    bench.work()

    assert [bench.message(number).status for number in pinned] == ["sent", "queued"]
    assert [bench.message(number).status for number in free] == ["sent", "sent"]
    assert len(catchall.messages) == 2

    connections.enable(bench.core, connection)
    scripted.on(Step.DOT, say("250 2.0.0 taken"))
    assert bench.work() == 1
