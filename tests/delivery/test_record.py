"""A mark becomes an attempt once, whoever comes first and whatever answer gets lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import outbox
from flask_smtp_admin.delivery import carriers, claim, housekeeping, record, suspects
from flask_smtp_admin.delivery.decide import Decision, RecipientOutcome
from flask_smtp_admin.delivery.journal import Entry, Journal, Written
from flask_smtp_admin.delivery.record import Begin, Carrier, Done, Report
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import Connection, Flight, Message, RecipientStatus, Status
from flask_smtp_admin.smtp import Outcome, Reply, Scope, Stage, Verdict
from tests.delivery.bench import Bench, a_bench
from tests.rows import a_connection, a_flight, add

LEASE = timedelta(seconds=45)
LOST = "after another worker had taken the message over"


@pytest.fixture
def carrier(each_bench: Bench) -> Carrier:
    row = a_connection()
    add(each_bench.engine, row)
    found = carriers.find(each_bench.core, row.id)
    assert found is not None
    return found


def take(bench: Bench, carrier: Carrier, token: str, *, limit: int = 1) -> list[claim.Claimed]:
    """Claim messages as a worker does."""
    with bench.core.database.write() as connection:
        return claim.claim(
            connection,
            carrier.id,
            limit=limit,
            token=token,
            now=bench.clock(),
            lease_until=bench.clock() + LEASE,
        )


def begin(bench: Bench, carrier: Carrier, message: claim.Claimed) -> None:
    """Mark a message as in flight."""
    [written] = Journal(bench.core).write_all([entry(bench, carrier, following=message)])
    assert isinstance(written, Written)
    assert written.began


def one_in_flight(bench: Bench, carrier: Carrier, **options: Any) -> claim.Claimed:
    """Return a message that is claimed and marked."""
    bench.send(**options)
    [message] = take(bench, carrier, "mine")
    begin(bench, carrier, message)
    return message


def sweep_after_its_lease(bench: Bench) -> None:
    bench.clock.forward(seconds=46)
    housekeeping.sweep(bench.core)


def entry(bench: Bench, carrier: Carrier, **more: Any) -> Entry:
    return Entry(carrier, "web-1:47", bench.clock(), 9, **more)


def a_done(bench: Bench, message: claim.Claimed, *, accepted: bool = True) -> Done:
    """Return what came of a message: its server took it, or will have it later."""
    code, status = (250, RecipientStatus.SENT) if accepted else (451, RecipientStatus.PENDING)
    outcome = Outcome.ACCEPTED if accepted else Outcome.TEMPORARY
    verdict = Verdict(outcome, Scope.MESSAGE, Stage.BODY, "Greylisted.")
    told = [
        RecipientOutcome(one.id, one.address, status, code, None, "ok")
        for one in message.recipients
    ]
    decision = Decision(
        status=Status.SENT if accepted else Status.QUEUED,
        due_at=None,
        counted=True,
        accepted=accepted,
        blames=None,
        verdict=verdict,
        reason="Taken." if accepted else "Greylisted.",
        recipients=tuple(told),
        given_up=(),
    )
    report = Report(Stage.BODY, Reply(code, ("words",)), 0.25, (), None)
    return Done(message, bench.clock(), decision, report)


def finish(bench: Bench, carrier: Carrier, done: Done, *, again: bool = False) -> Written:
    [written] = Journal(bench.core).write_all([entry(bench, carrier, done=done, again=again)])
    assert isinstance(written, Written), written
    return written


def test_an_attempt_is_written_when_it_has_ended(each_bench: Bench, carrier: Carrier) -> None:
    bench = each_bench
    bench.send(subject="Ärger")
    [message] = take(bench, carrier, "mine")
    begin(bench, carrier, message)

    [mark] = bench.rows(Flight)
    assert (mark.message_id, mark.lease_token, mark.number) == (message.id, "mine", 1)
    assert bench.attempts() == []

    finish(bench, carrier, a_done(bench, message))

    assert bench.in_flight() == {}
    [attempt] = bench.attempts(message.id)
    for name in ("connection_id", *record.BEGUN):
        assert getattr(attempt, name) == getattr(mark, name), name
    assert (attempt.status, attempt.counted, attempt.stage) == ("SUCCESS", True, "body")
    assert (attempt.smtp_code, attempt.milliseconds, attempt.reason) == (250, 250, "Taken.")
    assert attempt.finished_at >= attempt.started_at


def test_the_attempt_of_a_connection_that_is_gone_is_told_by_its_name(
    each_bench: Bench, carrier: Carrier
) -> None:
    bench = each_bench
    message = one_in_flight(bench, carrier)
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(Connection))

    finish(bench, carrier, a_done(bench, message))

    [attempt] = bench.attempts(message.id)
    assert attempt.connection == "Main"
    assert bench.message(message.id).status == "sent"


def test_one_that_was_taken_over_does_not_harm_its_neighbours(
    each_bench: Bench, carrier: Carrier
) -> None:
    bench = each_bench
    for _ in range(3):
        bench.send()
    taken = take(bench, carrier, "mine", limit=3)
    for message in taken:
        begin(bench, carrier, message)
    bench.change(Message, Message.id == taken[1].id, lease_token="theirs")

    entries = [entry(bench, carrier, done=a_done(bench, message)) for message in taken]
    Journal(bench.core).write_all(entries)

    assert bench.statuses() == ["sent", "sending", "sent"]
    assert {one.message_id: LOST in one.reason for one in bench.attempts()} == {
        taken[0].id: False,
        taken[1].id: True,
        taken[2].id: False,
    }
    assert bench.in_flight() == {}


def test_an_outcome_that_comes_after_the_rescue_is_told_in_its_attempt(
    each_bench: Bench, carrier: Carrier
) -> None:
    bench = each_bench
    message = one_in_flight(bench, carrier)
    sweep_after_its_lease(bench)

    [unknown] = bench.attempts()
    assert (unknown.status, unknown.stage, unknown.counted) == ("FAIL", None, False)
    assert unknown.lease_token == "mine"
    assert bench.in_flight() == {}

    touch(bench, message.id)
    done = a_done(bench, message)
    for again in (False, True):
        assert finish(bench, carrier, done, again=again).events == []
        [attempt] = bench.attempts()
        assert attempt.id == unknown.id
        assert (attempt.status, attempt.stage, attempt.smtp_code) == ("SUCCESS", "body", 250)
        assert LOST in attempt.reason
    row = bench.message(message.id)
    assert (row.status, row.crash_count, row.reason) == ("queued", 1, unknown.reason)
    assert bench.recipients(message.id) == {"ann@example.org": "pending"}


def touch(bench: Bench, number: int) -> None:
    """Have a person or another worker do something with a message."""
    bench.change(Message, Message.id == number, lease_token="an act")


@pytest.mark.parametrize("at_most_once", [False, True])
def test_what_a_server_has_is_not_sent_again_if_nobody_has_done_so_yet(
    each_bench: Bench, carrier: Carrier, at_most_once: bool
) -> None:
    bench = each_bench
    message = one_in_flight(bench, carrier, at_most_once=at_most_once)
    sweep_after_its_lease(bench)
    assert bench.statuses() == ["held" if at_most_once else "queued"]

    for again in (False, True):
        finish(bench, carrier, a_done(bench, message), again=again)
        row = bench.message(message.id)
        assert (row.status, row.reason, row.attempts_count) == ("sent", "Taken.", 1)
        assert row.finished_at is not None
        assert bench.recipients(message.id) == {"ann@example.org": "sent"}
        [attempt] = bench.attempts()
        assert (attempt.status, attempt.reason) == ("SUCCESS", "Taken.")
    assert bench.in_flight() == {}


def test_what_a_server_did_not_take_changes_nothing_when_it_comes_late(
    each_bench: Bench, carrier: Carrier
) -> None:
    bench = each_bench
    message = one_in_flight(bench, carrier)
    sweep_after_its_lease(bench)
    before = bench.message(message.id)
    finish(bench, carrier, a_done(bench, message, accepted=False))
    assert bench.message(message.id) == before
    [attempt] = bench.attempts()
    assert (attempt.status, attempt.smtp_code) == ("FAIL", 451)


def test_it_leaves_the_mark_of_the_next_worker(each_bench: Bench, carrier: Carrier) -> None:
    bench = each_bench
    message = one_in_flight(bench, carrier)
    sweep_after_its_lease(bench)
    [theirs] = take(bench, carrier, "theirs")
    begin(bench, carrier, theirs)

    finish(bench, carrier, a_done(bench, message))
    assert bench.in_flight() == {message.id: "theirs"}
    finish(bench, carrier, a_done(bench, theirs))

    assert [LOST in one.reason for one in bench.attempts()] == [True, False]
    assert bench.in_flight() == {}
    assert bench.statuses() == ["sent"]


def test_the_mark_of_a_message_that_was_disowned_is_found_by_the_sweep(
    each_bench: Bench, carrier: Carrier
) -> None:
    """Its lease has another token by then."""
    bench = each_bench
    message = one_in_flight(bench, carrier)
    with bench.core.database.write() as connection:
        suspects.put_aside(connection, message, bench.clock(), LookupError("a bug"))
    assert bench.statuses() == ["sending"]
    sweep_after_its_lease(bench)

    assert bench.statuses() == ["queued"]
    assert bench.in_flight() == {}
    assert [one.lease_token for one in bench.attempts()] == ["mine"]


@pytest.mark.parametrize("accepted", [True, False])
def test_a_commit_whose_answer_got_lost_leaves_one_attempt(
    each_bench: Bench, carrier: Carrier, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    """Also when a person has held the message meanwhile, and moved it elsewhere."""
    bench = each_bench
    other = a_connection("Other")
    add(bench.engine, other)
    bench.send()
    message = one_in_flight(bench, carrier)
    [following] = take(bench, carrier, "the next")
    both = entry(
        bench, carrier, done=a_done(bench, message, accepted=accepted), following=following
    )
    journal = Journal(bench.core)
    with monkeypatch.context() as patch:
        _lose_the_answer(patch, journal)
        [lost] = journal.write_all([both])
    assert isinstance(lost, OutboxUnavailable)
    outbox.hold(bench.core, Message.id == message.id)
    outbox.move_to(bench.core, other.id, Message.id == message.id)
    left = bench.message(message.id)

    [written] = journal.write_all([replace(both, again=True)])

    assert isinstance(written, Written)
    assert written.began
    told = "message_sent" if accepted else "delivery_failed"
    assert [event.code for event in written.events] == [told]
    [attempt] = bench.attempts()
    assert attempt.reason == ("Taken." if accepted else "Greylisted.")
    assert bench.message(message.id) == left
    assert bench.in_flight() == {following.id: "the next"}


def _lose_the_answer(patch: pytest.MonkeyPatch, journal: Journal) -> None:
    store = journal._store

    def store_and_break(entries: Sequence[Entry]) -> list[Written]:
        store(entries)
        raise OutboxUnavailable("the link broke after COMMIT")

    patch.setattr(journal, "_store", store_and_break)


def test_a_repeated_outcome_does_not_touch_what_came_after_it(
    each_bench: Bench, carrier: Carrier
) -> None:
    """The next worker has delivered the message; its recipients do not wait again."""
    bench = each_bench
    message = one_in_flight(bench, carrier)
    deferred = a_done(bench, message, accepted=False)
    finish(bench, carrier, deferred)
    [message] = take(bench, carrier, "theirs")
    begin(bench, carrier, message)
    finish(bench, carrier, a_done(bench, message))

    finish(bench, carrier, deferred, again=True)

    assert bench.statuses() == ["sent"]
    assert bench.recipients(message.id) == {"ann@example.org": "sent"}
    assert [one.reason for one in bench.attempts()] == ["Greylisted.", "Taken."]


def test_a_mark_without_a_message_under_way_is_removed(each_bench: Bench, carrier: Carrier) -> None:
    bench = each_bench
    deleted, released, going = (bench.send() for _ in range(3))
    for message in take(bench, carrier, "mine", limit=3):
        begin(bench, carrier, message)
    bench.change(Message, Message.id == released, status=Status.HELD, lease_until=None)
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(Message).where(Message.id == deleted))

    housekeeping.sweep(bench.core)
    assert len(bench.in_flight()) == 3, "it may yet have an outcome"

    bench.clock.forward(days=1)
    housekeeping.sweep(bench.core, held={"mine": {going}})
    assert bench.in_flight() == {going: "mine"}


def test_a_message_that_is_held_back_leaves_no_mark(each_bench: Bench, carrier: Carrier) -> None:
    bench = each_bench
    bench.send()
    [message] = take(bench, carrier, "mine")
    add(bench.engine, a_flight(bench.message(message.id), lease_token="of some time ago"))
    with bench.core.database.write() as connection:
        assert claim.hold_back(connection, message, "Its content is missing.")
    assert bench.statuses() == ["held"]
    assert bench.in_flight() == {}


def test_a_mark_that_was_left_in_the_way_ends_with_the_lease(
    each_bench: Bench, carrier: Carrier
) -> None:
    """No such mark is known to come about; the message would not be sent twice, nor never."""
    bench = each_bench
    bench.send()
    [message] = take(bench, carrier, "mine")
    add(bench.engine, a_flight(bench.message(message.id), lease_token="of some time ago"))
    with bench.engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        record.begin(connection, [Begin(message, carrier, "me")], bench.clock())
    sweep_after_its_lease(bench)
    [message] = take(bench, carrier, "another")
    begin(bench, carrier, message)
    finish(bench, carrier, a_done(bench, message))
    assert [one.status for one in bench.attempts()] == ["FAIL", "SUCCESS"]
    assert bench.statuses() == ["sent"]


def test_a_mark_that_is_made_while_the_sweep_looks_is_seen(postgres_url: str) -> None:
    """Its transaction ended when the sweep had begun to look, and before it locked the row."""
    with a_bench(postgres_url) as bench:
        row = a_connection()
        add(bench.engine, row)
        found = carriers.find(bench.core, row.id)
        assert found is not None
        bench.send()
        [message] = take(bench, found, "mine")
        late = [a_flight(bench.message(message.id))]
        bench.clock.forward(seconds=46)

        def mark(*args: Any) -> None:
            if "SKIP LOCKED" in args[2] and late:
                add(bench.engine, late.pop())

        sa.event.listen(bench.engine, "after_cursor_execute", mark)
        housekeeping.rescue(bench.core)

        assert bench.message(message.id).crash_count == 1
        assert [one.stage for one in bench.attempts()] == [None]
        assert bench.in_flight() == {}
