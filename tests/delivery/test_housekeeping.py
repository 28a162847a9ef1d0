"""The sweep: what is taken back from workers that are gone, and what is given up."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise

import pytest

from flask_smtp_admin.delivery import claim, housekeeping, lease, suspects
from flask_smtp_admin.delivery.lease import Clockwork
from flask_smtp_admin.models import Attempt, Message
from flask_smtp_admin.models import Worker as WorkerRow
from tests.delivery.bench import Bench
from tests.rows import a_connection, a_flight, add
from tests.servers.catchall import CatchAll


@pytest.fixture
def main(each_bench: Bench) -> int:
    row = a_connection()
    add(each_bench.engine, row)
    return int(row.id)


def die_with(bench: Bench, connection_id: int, *in_flight: int) -> None:
    """Claim everything as a worker that is killed while it sends some of it."""
    with bench.core.database.write() as connection:
        claim.claim(
            connection,
            connection_id,
            limit=50,
            token="the dead",
            now=bench.clock(),
            lease_until=bench.clock() + timedelta(seconds=45),
        )
    for number in in_flight:
        add(bench.engine, a_flight(bench.message(number)))


def test_nothing_is_taken_back_before_its_lease_ends(each_bench: Bench, main: int) -> None:
    bench = each_bench
    bench.send()
    die_with(bench, main)
    bench.clock.forward(seconds=40)

    assert housekeeping.sweep(bench.core) == 0
    assert bench.statuses() == ["sending"]


def test_one_sweep_takes_back_all_that_a_worker_left_and_gives_up_all_that_expired(
    each_bench: Bench, main: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many those are: the next one is a while away."""
    bench = each_bench
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    numbers = [bench.send() for _ in range(10)]
    die_with(bench, main, numbers[0])
    soon = bench.clock() + timedelta(seconds=30)
    expiring = [bench.send(expires_at=soon) for _ in range(10)]
    bench.clock.forward(seconds=46)

    assert housekeeping.sweep(bench.core) == 10
    assert bench.statuses() == ["queued"] * len(numbers) + ["failed"] * len(expiring)


def test_what_may_be_in_flight_does_not_keep_the_rest_from_being_taken_back(
    each_bench: Bench, main: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is not sure that its worker is gone."""
    bench = each_bench
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    numbers = [bench.send() for _ in range(10)]
    die_with(bench, main, *numbers[:5])
    bench.clock.forward(seconds=46)
    just_started = Clockwork(pause=60.0)

    assert housekeeping.rescue(bench.core, clockwork=just_started) == 5
    assert bench.statuses() == ["sending"] * 5 + ["queued"] * 5


def test_what_was_not_offered_goes_back_as_if_nothing_had_been(
    each_bench: Bench, main: int
) -> None:
    bench = each_bench
    number = bench.send(at_most_once=True)
    die_with(bench, main)
    bench.clock.forward(seconds=46)

    assert housekeeping.sweep(bench.core) == 1

    message = bench.message(number)
    assert (message.status, message.crash_count, message.lease_token) == ("queued", 0, None)
    assert bench.codes() == []


def test_what_was_in_flight_goes_back_and_says_so(each_bench: Bench, main: int) -> None:
    bench = each_bench
    number = bench.send()
    die_with(bench, main, number)
    bench.clock.forward(seconds=46)

    housekeeping.sweep(bench.core)

    message = bench.message(number)
    assert (message.status, message.crash_count) == ("queued", 1)
    assert message.due_at <= bench.clock()
    [attempt] = bench.attempts(number)
    assert (attempt.status, attempt.finished_at is None) == ("FAIL", False)
    assert "not known" in attempt.reason
    assert bench.codes() == ["delivery_failed"]


def test_what_was_in_flight_is_held_when_it_must_not_go_twice(each_bench: Bench, main: int) -> None:
    bench = each_bench
    number = bench.send(at_most_once=True)
    die_with(bench, main, number)
    bench.clock.forward(seconds=46)

    housekeeping.sweep(bench.core)

    message = bench.message(number)
    assert message.status == "held"
    assert "must not be sent twice" in message.reason
    assert message.reason.endswith("ask the recipient; then release or delete it.")


def test_three_crashes_put_a_message_into_quarantine(each_bench: Bench, main: int) -> None:
    bench = each_bench
    number = bench.send()
    for _ in range(3):
        bench.clock.forward(minutes=2)
        die_with(bench, main, number)
        bench.clock.forward(minutes=2)
        housekeeping.sweep(bench.core)

    message = bench.message(number)
    assert (message.status, message.crash_count) == ("held", 3)
    assert message.reason.startswith("In quarantine: 3 workers")
    assert message.reason.endswith("for the cause; then release or delete it.")
    assert len(bench.attempts(number)) == 3


def test_a_message_that_crashed_twice_lets_others_go_first(bench: Bench) -> None:
    row = a_connection()
    add(bench.engine, row)
    number = bench.send()
    for _ in range(2):
        die_with(bench, row.id, number)
        bench.clock.forward(minutes=2)
        housekeeping.sweep(bench.core)

    assert bench.message(number).due_at > bench.clock() + timedelta(seconds=30)


def test_who_was_in_flight_beside_what_stops_the_workers_is_not_quarantined_with_it(
    each_bench: Bench, main: int
) -> None:
    bench = each_bench
    numbers = [bench.send() for _ in range(4)]
    poison = numbers[2]
    for _ in range(2):
        die_with(bench, main, *numbers)
        bench.clock.forward(minutes=2)
        housekeeping.sweep(bench.core)

    times = sorted(bench.message(number).due_at for number in numbers)
    apart = [later - sooner for sooner, later in pairwise(times)]
    assert apart == [suspects.APART_AFTER_CRASH] * 3

    bench.clock.forward(seconds=(bench.message(poison).due_at - bench.clock()).total_seconds())
    die_with(bench, main, poison)
    bench.clock.forward(minutes=2)
    housekeeping.sweep(bench.core)
    assert bench.message(poison).status == "held"
    assert "held" not in [bench.message(number).status for number in numbers if number != poison]


def test_those_that_may_stop_the_workers_are_tried_one_by_one_whenever_somebody_looks(
    each_bench: Bench, catchall: CatchAll
) -> None:
    """Cron, say, every few minutes: all of them are due by then."""
    bench = each_bench
    bench.connection(catchall, max_sessions=10)
    for _ in range(25):
        bench.send()
    bench.change(Message, crash_count=suspects.CRASHES_TO_SUSPECT)
    catchall.answer_after(0.02)
    looks = 0
    while "queued" in bench.statuses() and looks < 25:
        bench.worker(sessions=10).drain()
        bench.clock.forward(minutes=5)
        looks += 1

    assert bench.statuses() == ["sent"] * 25
    assert len(catchall.messages) == 25
    assert catchall.most_at_work == 1


def test_a_suspect_waits_for_one_that_another_worker_is_trying(
    each_bench: Bench, main: int
) -> None:
    bench = each_bench
    tried, next_one, other = (bench.send() for _ in range(3))
    bench.change(Message, crash_count=suspects.CRASHES_TO_SUSPECT)
    bench.change(Message, Message.id == other, crash_count=0)
    die_with(bench, main, next_one)
    with bench.core.database.write() as connection:
        claimed = {one.id: one for one in claim._load(connection, [tried, next_one], "the dead")}

    with bench.core.database.write() as connection:
        now = bench.clock()
        assert suspects.put_off(connection, claimed[tried], now), "the other one is in flight"
    message = bench.message(tried)
    assert (message.status, message.lease_token) == ("queued", None)
    assert message.due_at == now + suspects.APART_AFTER_CRASH
    with bench.core.database.write() as connection:
        assert not suspects.put_off(connection, claimed[next_one], now)
    assert bench.message(next_one).status == "sending"


def test_a_lease_that_was_renewed_meanwhile_is_left_alone(bench: Bench) -> None:
    """The row is asked for again in the statement that takes it."""
    row = a_connection()
    add(bench.engine, row)
    number = bench.send()
    die_with(bench, row.id)
    with bench.core.database.write() as connection:
        claim.renew(connection, "the dead", [number], bench.clock() + timedelta(minutes=5))
    bench.clock.forward(seconds=60)

    assert housekeeping.rescue(bench.core) == 0
    assert bench.message(number).status == "sending"


def test_expired_messages_are_given_up_for_every_recipient(each_bench: Bench, main: int) -> None:
    bench = each_bench
    soon = bench.clock() + timedelta(seconds=30)
    number = bench.send("a@example.org", "b@example.org", expires_at=soon, sensitive=True)
    kept = bench.send()
    bench.clock.forward(minutes=1)

    housekeeping.sweep(bench.core)

    message = bench.message(number)
    assert (message.status, message.reason) == ("failed", housekeeping.EXPIRED)
    assert set(bench.recipients(number).values()) == {"failed"}
    assert bench.bodies() == [kept]
    final = bench.told("final_delivery_failed")
    assert [event.recipient for event in final] == ["a@example.org", "b@example.org"]


def test_a_message_that_some_have_expires_as_partly_delivered(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    catchall.answer_recipient("b@example.org", "451 4.3.0 not now")
    soon = bench.clock() + timedelta(seconds=30)
    number = bench.send("a@example.org", "b@example.org", expires_at=soon)
    bench.work()
    bench.clock.forward(minutes=1)

    housekeeping.sweep(bench.core)

    assert bench.message(number).status == "partial"
    assert bench.recipients(number) == {"a@example.org": "sent", "b@example.org": "failed"}
    assert [event.recipient for event in bench.told("final_delivery_failed")] == ["b@example.org"]


def test_messages_without_a_connection_get_one(each_bench: Bench) -> None:
    bench = each_bench
    number = bench.send()
    assert bench.message(number).connection_id is None
    row = a_connection()
    add(bench.engine, row)

    housekeeping.sweep(bench.core)

    assert bench.message(number).connection_id == row.id


def test_the_outcome_of_a_dead_worker_that_was_only_asleep_is_told_in_the_log(
    bench: Bench, catchall: CatchAll
) -> None:
    """SIGSTOP for longer than a lease: it wakes up, and must not write over its successor."""
    main = bench.connection(catchall)
    number = bench.send()
    die_with(bench, main, number)
    bench.clock.forward(seconds=46)
    housekeeping.sweep(bench.core)
    [sleeping] = bench.attempts(number)
    bench.work()

    assert bench.message(number).status == "sent"
    assert [attempt.status for attempt in bench.rows(Attempt)] == ["FAIL", "SUCCESS"]
    assert sleeping.id != bench.rows(Attempt)[1].id
    assert bench.rows(Message, Message.lease_token == "the dead") == []


def test_who_looks_for_the_first_time_leaves_what_may_be_in_flight_alone(
    each_bench: Bench, main: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage leases have ended that their workers could not renew."""
    bench = each_bench
    waits, flies = bench.send(), bench.send()
    die_with(bench, main, flies)
    bench.clock.forward(seconds=46)
    clockwork, since = Clockwork(pause=21.0), time.monotonic()

    assert housekeeping.rescue(bench.core, clockwork=clockwork) == 1
    assert (bench.message(waits).status, bench.message(flies).status) == ("queued", "sending")

    monkeypatch.setattr(time, "monotonic", lambda: since + 22)
    monkeypatch.setattr(lease, "uptime", lambda: since + 22)
    bench.clock.forward(seconds=22)
    assert Clockwork(pause=21.0).is_steady(bench.clock())
    assert housekeeping.rescue(bench.core, clockwork=clockwork) == 1
    assert bench.statuses() == ["queued", "queued"]


def test_what_lanes_of_this_worker_deal_with_is_not_taken_back(bench: Bench) -> None:
    row = a_connection()
    add(bench.engine, row)
    ours, left = bench.send(), bench.send()
    die_with(bench, row.id)
    bench.clock.forward(seconds=46)
    assert housekeeping.rescue(bench.core, held={"the dead": {ours}, "another": {left}}) == 1
    assert (bench.message(ours).status, bench.message(left).status) == ("sending", "queued")


@pytest.mark.parametrize(
    ("seen_before_its_end", "taken"), [((25, 5), 1), ((25, 22), 0), ((40, 5), 0), ((5, -5), 0)]
)
def test_reports_of_others_tell_who_looks_for_the_first_time_that_there_was_no_outage(
    each_bench: Bench, main: int, seen_before_its_end: tuple[int, int], taken: int
) -> None:
    """A lease of 45 s should have been renewed from 30 s before its end on."""
    bench = each_bench
    flies = bench.send()
    die_with(bench, main, flies)
    ends = bench.message(flies).lease_until
    first, last = (ends - timedelta(seconds=seconds) for seconds in seen_before_its_end)
    add(
        bench.engine,
        WorkerRow(id="w1", kind="rq", hostname="web-1", pid=47, started_at=first, seen_at=last),
    )
    bench.clock.forward(seconds=46)
    clockwork = Clockwork(pause=21.0, doubt=5.0, window=30.0)
    assert housekeeping.rescue(bench.core, clockwork=clockwork) == taken


def test_what_an_inline_delivery_left_is_certain_at_the_first_look(
    each_bench: Bench, main: int
) -> None:
    """Nobody would have renewed its lease; and the process that finds it may live for a moment."""
    bench = each_bench
    flies = bench.send()
    die_with(bench, main)
    add(bench.engine, a_flight(bench.message(flies), worker="inline:web-1:47"))
    bench.clock.forward(seconds=46)
    assert housekeeping.rescue(bench.core, clockwork=Clockwork(pause=21.0)) == 1
