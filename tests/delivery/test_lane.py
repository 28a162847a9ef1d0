"""From a claimed row to a recorded outcome, against servers that answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import outbox
from flask_smtp_admin.delivery import lease, supply
from flask_smtp_admin.models import Message, MessageBody, Recipient
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll
from tests.servers.exim import EximServer
from tests.servers.scripted import Peer, ScriptedServer, Step, close, reset, say


def test_a_message_is_delivered_and_everything_about_it_is_written(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    connection = bench.connection(catchall)
    number = bench.send("ann@example.org", "bob@example.org")

    assert bench.work() == 1

    message = bench.message(number)
    assert message.status == "sent"
    assert (message.attempts_count, message.last_code, message.lease_until) == (1, 250, None)
    assert message.finished_at is not None
    assert bench.recipients(number) == {"ann@example.org": "sent", "bob@example.org": "sent"}
    [attempt] = bench.attempts(number)
    assert (attempt.status, attempt.number, attempt.counted) == ("SUCCESS", 1, True)
    assert (attempt.connection_id, attempt.connection) == (connection, "Main")
    assert (attempt.smtp_code, attempt.stage, attempt.recipient_count) == (250, "body", 2)
    assert "RCPT TO:<bob@example.org>" in attempt.dialogue
    [caught] = catchall.messages
    assert caught.recipients == ("ann@example.org", "bob@example.org")
    assert message.message_id.encode() in caught.content
    assert bench.codes() == ["message_sent"]
    assert bench.health(connection).last_ok_at is not None


def test_only_the_recipients_still_pending_are_offered_again(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    bench.connection(catchall)
    number = bench.send("yes@example.org", "later@example.org", "never@example.org")
    catchall.answer_recipient("later@example.org", "451 4.3.0 not now")
    catchall.answer_recipient("never@example.org", "550 5.1.1 nobody")

    bench.work()

    assert bench.message(number).status == "queued"
    assert bench.recipients(number) == {
        "yes@example.org": "sent",
        "later@example.org": "pending",
        "never@example.org": "failed",
    }
    told = [(event.code, event.recipient, event.final) for event in bench.told()][1:]
    assert told == [
        ("message_sent", "yes@example.org", False),
        ("delivery_failed", "later@example.org", False),
        ("delivery_failed", "never@example.org", True),
        ("final_delivery_failed", "never@example.org", True),
    ]

    catchall.forget_answers()
    catchall.clear()
    bench.clock.forward(minutes=2)
    bench.work()

    assert catchall.offered == ["later@example.org"]
    assert bench.message(number).status == "partial"
    assert [attempt.number for attempt in bench.attempts(number)] == [1, 2]


def test_too_many_recipients_follow_at_once_in_the_next_transaction(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted)
    number = bench.send("a@example.org", "b@example.org", "c@example.org")
    scripted.on(Step.RCPT, say("452 4.5.3 too many recipients"))

    assert bench.work() == 2

    assert [took.recipients for took in scripted.accepted] == [
        ("b@example.org", "c@example.org"),
        ("a@example.org",),
    ]
    message = bench.message(number)
    assert message.status == "sent"
    assert message.attempts_count == 1, "the first transaction spent no try"


def test_attempts_are_used_up_and_every_recipient_is_given_up(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall, max_attempts=2)
    catchall.answer_content("451 4.3.0 try again")
    number = bench.send("ann@example.org", "bob@example.org")

    bench.work()
    assert bench.message(number).status == "queued"
    bench.clock.forward(minutes=2)
    bench.work()

    message = bench.message(number)
    assert (message.status, message.attempts_count) == ("failed", 2)
    assert message.reason.startswith("Given up after 2 tries.")
    assert bench.recipients(number) == {"ann@example.org": "failed", "bob@example.org": "failed"}
    final = bench.told("final_delivery_failed")
    assert [event.recipient for event in final] == ["ann@example.org", "bob@example.org"]
    assert all(event.final and event.next_attempt_at is None for event in final)


def test_a_message_may_have_a_number_of_tries_of_its_own(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall, max_attempts=2)
    catchall.answer_content("451 4.3.0 try again")
    hasty, patient = bench.send(max_attempts=1), bench.send(max_attempts=3)

    for _ in range(3):
        bench.work()
        bench.clock.forward(minutes=10)

    for number, tries in ((hasty, 1), (patient, 3)):
        message = bench.message(number)
        assert (message.status, message.attempts_count) == ("failed", tries)
    assert {event.max_attempts for event in bench.told("final_delivery_failed")} == {1, 3}


def test_a_refused_message_fails_at_once_and_the_connection_is_not_blamed(
    bench: Bench, catchall: CatchAll
) -> None:
    connection = bench.connection(catchall)
    catchall.answer_content("554 5.7.1 looks like spam")
    number = bench.send()

    bench.work()

    assert bench.message(number).status == "failed"
    assert bench.health(connection).failures == 0
    assert bench.codes() == ["delivery_failed", "final_delivery_failed"]


def test_a_retry_sends_the_same_bytes(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    number = bench.send("a@example.org", "b@example.org", subject="Grüße")
    catchall.answer_recipient("b@example.org", "451 4.3.0 not now")
    bench.work()
    catchall.forget_answers()
    bench.clock.forward(minutes=2)
    bench.work()

    assert bench.message(number).status == "sent"
    first, second = catchall.messages
    assert first.content == second.content
    assert (first.recipients, second.recipients) == (("a@example.org",), ("b@example.org",))


@pytest.mark.parametrize("reply", ["250 2.0.0 taken", "554 5.0.0 never"])
def test_the_body_of_a_sensitive_message_goes_when_it_is_final(
    bench: Bench, catchall: CatchAll, reply: str
) -> None:
    bench.connection(catchall)
    secret, plain = bench.send(sensitive=True), bench.send()
    catchall.answer_content("451 4.3.0 not now")
    bench.work()
    assert set(bench.bodies()) == {secret, plain}, "not final yet: it is needed"

    catchall.answer_content(reply)
    bench.clock.forward(minutes=2)
    bench.work()

    assert bench.bodies() == [plain]


def test_a_large_body_is_read_when_its_turn_comes(each_bench: Bench, catchall: CatchAll) -> None:
    bench = each_bench
    bench.connection(catchall)
    text = "".join(f"{n:078d}\n" for n in range(40_000))
    bench.send(text=text)

    assert bench.work() == 1

    assert catchall.messages[0].content.replace(b"\r\n", b"\n").endswith(text.encode())


def test_a_message_lost_to_another_worker_is_not_sent(
    bench: Bench, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "FIRST_A_LANE", 3)
    bench.connection(scripted)
    first, second, third = bench.send(), bench.send(), bench.send()

    def slow(peer: Any) -> None:
        # While the first is sent, somebody else gets the second, which waits in the same batch.
        bench.change(Message, Message.id == second, lease_token="another worker")
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, slow)
    bench.worker().drain()

    assert bench.statuses() == ["sent", "sending", "sent"]
    assert [attempt.message_id for attempt in bench.attempts()] == [first, third]


def test_an_outcome_that_comes_too_late_is_only_logged(
    bench: Bench, scripted: ScriptedServer
) -> None:
    connection = bench.connection(scripted)
    number = bench.send()

    def slow(peer: Any) -> None:
        # The lease has ended, and another worker has the message.
        bench.change(Message, Message.id == number, lease_token="another worker")
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, slow)
    bench.work()

    message = bench.message(number)
    assert (message.status, message.lease_token) == ("sending", "another worker")
    assert bench.recipients(number) == {"ann@example.org": "pending"}
    [attempt] = bench.attempts(number)
    assert attempt.status == "SUCCESS"
    assert attempt.reason.startswith("Accepted by the server, after another worker")
    assert bench.codes() == []
    assert bench.health(connection).failures == 0


@pytest.mark.parametrize(
    ("minutes", "tries"), [(14, ["SUCCESS"]), (16, ["FAIL", "SUCCESS"])], ids=["enough", "too late"]
)
def test_a_lease_that_nobody_renews_is_not_used_up_before_the_server_has_it(
    bench: Bench,
    scripted: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    tries: list[str],
) -> None:
    """It lasts for 15 minutes and the time that the server may take over its last reply."""
    bench.connection(scripted, final_timeout=600, session_deadline=3600)
    bench.send()

    def slow(peer: Any) -> None:
        later = lease.uptime() + minutes * 60
        monkeypatch.setattr(lease, "uptime", lambda: later)
        peer.say("354 go on")

    scripted.on(Step.DATA, slow)
    assert bench.worker().drain_alone() == 1
    assert [attempt.status for attempt in bench.attempts()] == tries
    assert len(scripted.accepted) == 1


def test_at_most_once_holds_a_message_whose_fate_is_unknown(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted)
    scripted.on(Step.DOT, close)
    careful = bench.send(at_most_once=True)

    bench.work()

    message = bench.message(careful)
    assert message.status == "held"
    assert "must not be sent twice" in message.reason
    [event] = bench.told("delivery_failed")
    assert not event.final, "a person decides"


def test_without_it_the_message_goes_again_under_the_same_message_id(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted)
    scripted.on(Step.DOT, close)
    number = bench.send()

    bench.work()
    message = bench.message(number)
    assert (message.status, message.attempts_count) == ("queued", 1)
    bench.clock.forward(minutes=2)
    bench.work()

    assert bench.message(number).status == "sent"
    assert message.message_id.encode() in scripted.accepted[0].content


@pytest.mark.parametrize("step", [Step.RCPT, Step.DATA, Step.BODY])
@pytest.mark.parametrize("fault", [close, reset, say("421 4.3.0 not this one")])
def test_a_message_that_ends_the_session_does_not_stand_in_the_way_of_others(
    bench: Bench, scripted: ScriptedServer, step: Step, fault: Any
) -> None:
    bench.connection(scripted)
    scripted.on(step, fault)
    poison, good = bench.send(subject="poison"), bench.send(subject="good")

    bench.work()
    assert bench.message(good).status == "queued"
    bench.clock.forward(seconds=10)
    bench.work()

    assert bench.message(good).status == "sent"
    spent = bench.message(poison)
    assert (spent.status, spent.attempts_count) == ("queued", 1)
    assert spent.due_at > bench.clock() + timedelta(seconds=30)


def test_a_sender_that_the_server_does_not_want_lets_others_go_first(
    bench: Bench, scripted: ScriptedServer
) -> None:
    bench.connection(scripted)
    scripted.on(Step.MAIL, say("451 4.3.5 configuration problem"))
    first, second = bench.send(), bench.send()

    bench.work()
    bench.clock.forward(seconds=10)
    bench.work()

    assert bench.message(second).status == "sent"
    waiting = bench.message(first)
    assert (waiting.status, waiting.attempts_count) == ("queued", 0)
    bench.clock.forward(minutes=3)
    bench.work()
    assert bench.message(first).status == "sent"


def test_a_row_that_cannot_be_sent_is_held_and_the_others_leave(
    bench: Bench, catchall: CatchAll
) -> None:
    bench.connection(catchall)
    bodiless, nobody, good = bench.send(), bench.send(), bench.send()
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(MessageBody).where(MessageBody.message_id == bodiless))
        connection.execute(sa.delete(Recipient).where(Recipient.message_id == nobody))

    bench.work()

    assert bench.statuses() == ["held", "held", "sent"]
    assert "content is missing" in bench.message(bodiless).reason
    assert "no recipient" in bench.message(nobody).reason
    assert bench.message(good).status == "sent"


def test_an_error_of_our_own_puts_one_message_aside_and_then_into_quarantine(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connection(catchall)
    bad, good = bench.send(subject="bad"), bench.send(subject="good")
    from flask_smtp_admin.delivery import record

    begin = record.begin

    def stumble(connection: Any, begins: Any, now: Any) -> Any:
        if any(one.message.id == bad for one in begins):
            raise LookupError("a bug")
        return begin(connection, begins, now)

    monkeypatch.setattr(record, "begin", stumble)
    for _ in range(3):
        bench.work()
        waiting = bench.message(bad)
        bench.clock.forward(minutes=2)
        if waiting.crash_count < 3:
            assert "it is tried again in a minute. The worker's log has the " in waiting.reason

    assert bench.message(good).status == "sent"
    held = bench.message(bad)
    assert held.reason.startswith(
        "In quarantine: flask-smtp-admin failed on this message too often."
    )
    assert (held.status, held.crash_count) == ("held", 3)
    assert "a bug" in held.reason
    assert bench.attempts(bad) == []

    monkeypatch.undo()
    outbox.retry(bench.core, Message.id == bad)
    bench.work()
    assert bench.message(bad).status == "sent"


def test_the_words_of_a_hostile_server_fit_into_every_database(
    each_bench: Bench, scripted: ScriptedServer
) -> None:
    bench = each_bench
    bench.connection(scripted)
    flood = "\n".join(["550-5.1.1 " + "\x00ü😀" * 120] * 60 + ["550 5.1.1 no"])
    scripted.on(Step.RCPT, say(flood))
    number = bench.send("flood@example.org", "good@example.org")

    bench.work()

    assert bench.message(number).status == "partial"
    assert len(bench.attempts(number)[0].reason) <= 4000


def test_exim_takes_a_message_over_tls_after_a_login(bench: Bench, exim: EximServer) -> None:
    bench.connection(
        exim,
        encryption="starttls",
        use_auth=True,
        username=exim.username,
        password=exim.password,
        ca_certificate=exim.ca_pem,
    )
    number = bench.send("ann@example.test", "nosuch@example.test", "defer@example.test")

    assert bench.work() == 1

    assert bench.recipients(number) == {
        "ann@example.test": "sent",
        "nosuch@example.test": "failed",
        "defer@example.test": "pending",
    }
    [attempt] = bench.attempts(number)
    assert attempt.tls.startswith("TLSv1")
    assert exim.password not in attempt.dialogue
    assert bench.message(number).message_id.encode() in exim.wait_for(1)[0]


@pytest.mark.parametrize("before", [0, 3])
def test_an_urgent_message_waits_for_what_a_slow_server_has_in_hand(
    each_bench: Bench, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Also when it is not known yet that the server is slow."""
    bench = each_bench
    monkeypatch.setattr(supply, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(supply, "BATCH_SECONDS", 1e-9)
    urgent: list[int] = []

    def enqueue_urgent(peer: Peer) -> None:
        urgent.append(bench.send("urgent@example.org", priority="high"))
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, *[None] * before, enqueue_urgent)
    bench.connection(scripted, max_sessions=1)
    for _ in range(8):
        bench.send()
    bench.worker(sessions=1).drain()

    order = [row.message_id for row in bench.attempts()]
    assert order.index(urgent[0]) == before + 1
    assert bench.statuses() == ["sent"] * 9


def test_an_urgent_message_passes_a_long_queue(each_bench: Bench, scripted: ScriptedServer) -> None:
    """It waits for what has been claimed, however much is due."""
    bench, sessions, before = each_bench, 4, 20
    urgent: list[int] = []

    def enqueue_urgent(peer: Peer) -> None:
        urgent.append(bench.send("urgent@example.org", priority="high"))
        peer.say("250 2.0.0 taken")

    scripted.on(Step.DOT, *[None] * before, enqueue_urgent)
    bench.connection(scripted, max_sessions=sessions)
    for _ in range(400):
        bench.send(priority="low")
    bench.worker(sessions=sessions).drain()

    order = [row.message_id for row in bench.attempts()]
    in_hand = 2 * sessions
    assert order.index(urgent[0]) <= before + supply.BATCH + sessions + in_hand
    assert bench.statuses() == ["sent"] * 401
