"""Tests of the snapshot: its numbers, its problems and its first line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import metrics, surroundings
from flask_smtp_admin.config import Config
from flask_smtp_admin.core import Core
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.database import Database
from flask_smtp_admin.metrics import Snapshot, reading
from flask_smtp_admin.models import Base, BreakerState, Message, Status, Worker
from flask_smtp_admin.wording import Count
from tests import rows
from tests.rows import NOW, later


def core_on(engine: sa.Engine, **config: Any) -> Core:
    return Core(
        config=Config(**config),
        database=Database(lambda: engine),
        keys=KeyRing(["a secret of the tests"]),
        publish=lambda event: None,
        ring=lambda: None,
        after_commit=lambda act: act(),
        now=lambda: NOW,
    )


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(sqlite_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def take(engine: sa.Engine, dispatch: str = "rq", **config: Any) -> Snapshot:
    return metrics.take(core_on(engine, **config), dispatch)


def a_worker(**fields: Any) -> Worker:
    values: dict[str, Any] = {
        "id": "w1",
        "kind": "rq",
        "hostname": "web-1",
        "pid": 47,
        "started_at": later(hours=-5),
        "seen_at": later(seconds=-5),
        "swept_at": later(seconds=-20),
    }
    return Worker(**{**values, **fields})


def test_it_goes_by_the_clock_of_the_database_as_workers_do(engine: sa.Engine) -> None:
    """A web server whose clock is two minutes ahead would take every worker for dead."""

    class Behind(Database):
        def skew(self, connection: object) -> timedelta:
            return timedelta(minutes=-2)

    rows.add(engine, a_worker(seen_at=later(minutes=-2, seconds=-5)))
    core = replace(core_on(engine), database=Behind(lambda: engine))
    snapshot = reading.read(core, "rq")
    assert snapshot.taken_at == later(minutes=-2)
    assert [worker.id for worker in snapshot.workers] == ["w1"]
    with core.database.session() as session:
        assert surroundings.read(session, core, "rq").worker_alive


def well(**health: Any) -> Any:
    return rows.a_connection(health={"last_ok_at": later(seconds=-30), **health})


def codes(snapshot: Snapshot) -> list[str]:
    return [problem.code for problem in snapshot.problems]


def test_the_numbers_are_right_on_every_database(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    Base.metadata.create_all(engine)
    connection = well()
    rows.add(engine, connection, a_worker())
    midnight = later(hours=-9)
    rows.add(
        engine,
        rows.a_message(connection_id=connection.id, due_at=later(seconds=-8)),
        rows.a_message(connection_id=None, due_at=later(seconds=-3)),
        rows.a_message(connection_id=connection.id, due_at=later(minutes=5)),
        rows.a_message(status=Status.SENDING),
        rows.a_message(status=Status.HELD),
        rows.a_message(status=Status.SENT, finished_at=midnight),
        rows.a_message(status=Status.PARTIAL, finished_at=NOW),
        rows.a_message(status=Status.SENT, finished_at=later(hours=-10)),
        rows.a_message(status=Status.FAILED, finished_at=later(hours=-1)),
        rows.a_message(status=Status.FAILED, finished_at=later(days=-1)),
    )
    found = take(engine)
    assert (found.due, found.waiting, found.sending) == (Count(2), Count(1), Count(1))
    assert (found.held, found.failed) == (Count(1), Count(2))
    assert (found.sent_today, found.failed_today) == (Count(2), Count(1))
    assert found.oldest_due_at == later(seconds=-8)
    assert found.connections[0].due == Count(1)
    assert [worker.hostname for worker in found.workers] == ["web-1"]
    assert found.last_sweep_at == later(seconds=-20)
    assert found.healthy
    engine.dispose()


def test_today_begins_at_midnight_of_the_sites_zone(engine: sa.Engine) -> None:
    rows.add(engine, rows.a_message(status=Status.SENT, finished_at=later(hours=-9, minutes=-30)))
    assert take(engine).sent_today == Count(0)
    assert take(engine, timezone="Europe/Berlin").sent_today == Count(1)


def test_all_well_is_said_with_numbers(engine: sa.Engine) -> None:
    connection = well()
    rows.add(engine, connection, a_worker())
    assert metrics.first_line(take(engine)) == (
        "All well: nothing sent yet today, nothing waits to be sent."
    )
    rows.add(
        engine,
        rows.a_message(connection_id=connection.id, due_at=later(seconds=-8)),
        rows.a_message(status=Status.SENT, finished_at=NOW),
    )
    assert metrics.first_line(take(engine)) == (
        "All well: 1 message sent today, nothing waits longer than 8 s."
    )
    rows.add(engine, rows.a_message(connection_id=connection.id, due_at=later(minutes=5)))
    assert metrics.first_line(take(engine)) == (
        "All well: 1 message sent today, nothing that is due waits longer than 8 s; "
        "1 message waits for later."
    )


def test_a_message_that_waits_for_later_is_not_nothing(engine: sa.Engine) -> None:
    connection = well()
    rows.add(engine, connection, a_worker())
    rows.add(engine, rows.a_message(connection_id=connection.id, due_at=later(minutes=5)))
    assert metrics.first_line(take(engine)) == (
        "All well: nothing sent yet today, nothing is due; 1 message waits for later."
    )


def test_a_password_that_no_key_opens_is_a_problem_before_anything_fails(
    engine: sa.Engine,
) -> None:
    connection = well()
    connection.use_auth, connection.uid = True, "0" * 32
    connection.set_password("hidden", KeyRing(["a key that is gone"]), NOW)
    rows.add(engine, connection, a_worker())
    found = take(engine)
    assert codes(found) == ["connection_failing"]
    assert "was encrypted with a key that is not configured any more" in (
        found.problems[0].sentence
    )


def test_a_login_without_a_password_is_a_problem_before_anything_fails(engine: sa.Engine) -> None:
    rows.add(engine, rows.a_connection(use_auth=True, username="shop"), a_worker())
    found = take(engine)
    assert codes(found) == ["connection_failing"]
    assert "no password is stored for this connection. Enter the password" in (
        found.problems[0].sentence
    )


def test_a_connection_that_failed_a_moment_ago_is_not_all_well(engine: sa.Engine) -> None:
    connection = well(
        failures=1,
        failing_since=later(seconds=-3),
        retry_at=later(seconds=4),
        last_reason="No server listens on this port: the connection was refused.",
    )
    rows.add(engine, connection, a_worker())
    assert metrics.first_line(take(engine)).startswith("All well")
    rows.add(engine, rows.a_message(connection_id=connection.id, due_at=later(seconds=-3)))
    found = take(engine)
    assert found.healthy, "one failure is no reason to wake somebody"
    assert metrics.first_line(found) == (
        f"“{connection.caption}” failed a moment ago: no server listens on this port: the "
        "connection was refused; 1 message waits."
    )
    assert found.hindrance is not None
    assert found.hindrance.remedy == "It is tried again in 4 s."


@pytest.mark.parametrize(
    ("dispatch", "remedy"),
    [
        ("rq", "Start one: flask --app YOUR_APP smtp-admin worker"),
        ("embedded", "starts with the application's first request"),
        ("inline", "flask --app YOUR_APP smtp-admin worker --burst"),
        ("none", "SMTP_ADMIN_DISPATCH is 'none' here"),
    ],
)
def test_due_mail_without_a_worker_is_a_problem_with_its_remedy(
    engine: sa.Engine, dispatch: str, remedy: str
) -> None:
    connection = well()
    rows.add(engine, connection, a_worker(seen_at=later(minutes=-6)))
    rows.add(engine, rows.a_message(connection_id=connection.id, due_at=later(minutes=-5)))
    found = take(engine, dispatch)
    assert codes(found) == ["no_worker"]
    assert found.problems[0].sentence == "No worker has been seen for 6 min; 1 message is due."
    assert remedy in found.problems[0].text
    assert metrics.first_line(found) == found.problems[0].sentence


@pytest.mark.parametrize("alive", [False, True])
def test_what_a_silent_worker_left_behind_is_due_and_a_problem(
    engine: sa.Engine, alive: bool
) -> None:
    seen_at = later(seconds=-5) if alive else later(minutes=-6)
    rows.add(engine, well(), a_worker(seen_at=seen_at))
    in_hand = rows.a_message(status=Status.SENDING, lease_until=later(seconds=-59))
    rows.add(engine, in_hand)
    assert take(engine).healthy, "the next sweep takes it over"
    left = rows.a_message(
        status=Status.SENDING, due_at=later(minutes=-8), lease_until=later(seconds=-61)
    )
    rows.add(engine, left)
    found = take(engine)
    assert (found.sending, found.stuck) == (Count(2), Count(1))
    assert metrics.as_data(found)["oldest_due_seconds"] == 480
    assert codes(found) == ["stalled" if alive else "no_worker"]
    assert found.problems[0].sentence == (
        "A worker runs, but 1 message was left behind by one that has gone silent, and it does "
        "not take it over."
        if alive
        else "No worker has been seen for 6 min; 1 message was left behind by one that has gone "
        "silent."
    )
    assert metrics.first_line(found) == found.problems[0].sentence


def test_what_is_due_and_what_was_left_behind_are_told_together(engine: sa.Engine) -> None:
    connection = well()
    rows.add(engine, connection, a_worker(seen_at=later(minutes=-6)))
    gone = {"status": Status.SENDING, "lease_until": later(minutes=-5)}
    rows.add(engine, rows.a_message(connection_id=connection.id), rows.a_message(**gone))
    rows.add(engine, rows.a_message(due_at=later(minutes=-6), **gone))
    assert take(engine).problems[0].sentence == (
        "No worker has been seen for 6 min; 1 message is due and 2 messages were left behind by "
        "one that has gone silent."
    )


def test_a_worker_that_stopped_is_not_alive(engine: sa.Engine) -> None:
    rows.add(engine, a_worker(stopped_at=later(seconds=-1)))
    assert take(engine).workers == ()


def test_an_idle_queue_without_a_worker_is_worth_a_note(engine: sa.Engine) -> None:
    rows.add(engine, well())
    found = take(engine)
    assert found.healthy
    assert [note.code for note in found.notes] == ["idle"]
    assert take(engine, "embedded").notes == ()


@pytest.mark.parametrize("dispatch", ["rq", "none", "embedded"])
def test_due_mail_without_a_worker_is_not_all_well_from_the_first_moment(
    engine: sa.Engine, dispatch: str
) -> None:
    connection = well()
    rows.add(engine, connection)
    rows.add(engine, rows.a_message(connection_id=connection.id, due_at=later(seconds=-1)))
    found = take(engine, dispatch)
    assert found.healthy, "for a minute it is no reason to wake somebody"
    assert metrics.first_line(found) == "No worker runs; 1 message is due."
    assert found.notes[0] == found.hindrance
    assert found.notes[0].remedy
    assert metrics.first_line(take(engine, "inline")).startswith("All well")


def test_mail_for_later_without_a_worker_is_no_mail_that_waits_for_one(engine: sa.Engine) -> None:
    rows.add(engine, well(), rows.a_message(due_at=later(hours=1)))
    assert [note.sentence for note in take(engine).notes] == ["No worker runs; nothing is due yet."]


def test_a_connection_that_fails_this_moment_has_just_failed(engine: sa.Engine) -> None:
    failing = well(
        breaker=BreakerState.OPEN, failures=1, failing_since=NOW, last_reason="Login refused."
    )
    rows.add(engine, failing, a_worker())
    assert take(engine).problems[0].sentence == "“Main” has just failed: login refused."


def test_a_broken_connection_is_a_problem_and_a_hiccup_is_none(engine: sa.Engine) -> None:
    broken = well(
        breaker=BreakerState.OPEN,
        failures=6,
        failing_since=later(hours=-1),
        retry_at=later(minutes=4),
        last_reason="The server refused the username or the password.",
        last_advice="Enter the password again.",
    )
    rows.add(engine, broken, a_worker())
    rows.add(engine, rows.a_message(connection_id=broken.id, due_at=later(minutes=-50)))
    found = take(engine)
    assert codes(found) == ["connection_failing"]
    assert found.problems[0].text == (
        "“Main” has been failing for 1 h: the server refused the username or the password; "
        "1 message waits. Enter the password again. It is tried again in 4 min."
    )
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE smtp_admin_connection_health SET breaker = 'closed', failures = 2")
        )
        connection.execute(sa.text("UPDATE smtp_admin_message SET due_at = :now"), {"now": NOW})
    assert take(engine).healthy


def test_a_pause_is_worth_a_note(engine: sa.Engine) -> None:
    paused = well(
        breaker=BreakerState.PAUSED, retry_at=later(minutes=4), last_reason="100 sent this hour."
    )
    rows.add(engine, paused, a_worker())
    rows.add(engine, rows.a_message(connection_id=paused.id, due_at=later(minutes=-50)))
    found = take(engine)
    assert found.healthy
    assert found.notes[0].text == (
        "“Main” is paused: 100 sent this hour; 1 message waits. It goes on in 4 min."
    )


def test_mail_without_any_enabled_connection_is_a_problem(engine: sa.Engine) -> None:
    rows.add(engine, a_worker())
    assert metrics.first_line(take(engine)).startswith("Nothing can be sent yet")
    rows.add(engine, rows.a_message(), rows.a_message())
    found = take(engine)
    assert found.problems[0].text == "No connection is set up; 2 messages wait. Add one."
    rows.add(engine, rows.a_connection(enabled=False))
    assert take(engine).problems[0].sentence == "No connection is enabled; 2 messages wait."


def test_mail_that_nobody_carries_or_nobody_takes_is_a_problem(engine: sa.Engine) -> None:
    connection = well()
    rows.add(engine, connection, a_worker())
    lost = rows.a_message(connection_id=None, due_at=later(minutes=-5))
    rows.add(engine, lost)
    assert codes(take(engine)) == ["unrouted"]
    stuck = rows.a_message(connection_id=connection.id, due_at=later(minutes=-20))
    rows.add(engine, stuck)
    found = take(engine)
    assert codes(found) == ["unrouted", "stalled"], "neither hides behind the other"
    assert found.problems[0].sentence.startswith("1 message is due, and no enabled connection")


def pinned_to_a_disabled_connection(engine: sa.Engine) -> Any:
    """Store a message that was due two minutes ago at a connection that is disabled."""
    off = rows.a_connection("Old", enabled=False, position=1)
    rows.add(engine, off)
    rows.add(engine, rows.a_message(connection_id=off.id, pinned=True, due_at=later(minutes=-2)))
    return off


def test_mail_of_a_disabled_connection_is_a_problem_however_well_the_others_are(
    engine: sa.Engine,
) -> None:
    busy = well()
    rows.add(engine, busy, a_worker())
    rows.add(engine, rows.a_message(connection_id=busy.id, due_at=later(seconds=-5)))
    off = pinned_to_a_disabled_connection(engine)
    found = take(engine)
    assert codes(found) == ["unrouted"]
    assert found.problems[0].connection_id == off.id
    assert metrics.first_line(found) == "1 message of the disabled connection “Old” is due."
    assert found.problems[0].remedy == (
        "Enable the connection, or move the message to another one."
    )
    assert not metrics.as_data(found)["healthy"]


def test_mail_of_a_disabled_connection_does_not_hide_behind_another_problem(
    engine: sa.Engine,
) -> None:
    failing = well(
        breaker=BreakerState.OPEN, failures=6, failing_since=later(hours=-1), last_reason="No."
    )
    rows.add(engine, failing, a_worker())
    pinned_to_a_disabled_connection(engine)
    assert codes(take(engine)) == ["connection_failing", "unrouted"]
    with engine.begin() as connection:
        connection.execute(sa.update(Worker).values(seen_at=later(minutes=-6)))
    assert codes(take(engine)) == ["no_worker", "connection_failing", "unrouted"]


def test_mail_of_a_disabled_connection_has_a_minute_to_be_moved(engine: sa.Engine) -> None:
    rows.add(engine, well(), a_worker())
    pinned_to_a_disabled_connection(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(Message).values(due_at=later(seconds=-59)))
    assert take(engine).healthy


def test_failures_and_held_messages_are_worth_a_note(engine: sa.Engine) -> None:
    rows.add(engine, well(), a_worker())
    rows.add(
        engine,
        rows.a_message(status=Status.FAILED, finished_at=NOW),
        rows.a_message(status=Status.HELD),
    )
    found = take(engine)
    assert found.healthy
    assert [note.sentence for note in found.notes] == [
        "1 message was given up today.",
        "1 message is held and waits for somebody to decide.",
    ]


def test_a_snapshot_of_many_messages_costs_no_scan(sqlite_url: str) -> None:
    engine = sa.create_engine(sqlite_url)
    Base.metadata.create_all(engine)
    connection = well()
    rows.add(engine, connection, a_worker())
    rows.fill(engine, 30_000)
    statements: list[str] = []
    sa.event.listen(
        engine, "before_cursor_execute", lambda _c, _u, statement, *_: statements.append(statement)
    )
    with core_on(engine).database.session() as session:
        reading._facts(session, core_on(engine), NOW)
    plans = []
    with engine.connect() as checked:
        for statement in tuple(statements):
            values = (None,) * statement.count("?")
            found = checked.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            plans += [row[3] for row in found if "smtp_admin_message" in row[3]]
    assert plans
    scans = [plan for plan in plans if plan.startswith("SCAN")]
    assert not scans, scans
    engine.dispose()
