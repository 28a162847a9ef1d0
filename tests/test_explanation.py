"""Tests of the sentence that says what a message does and what comes next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flask_smtp_admin.explanation import (
    Surroundings,
    cause,
    explain,
    explain_attempt,
    explain_flight,
    next_attempt_at,
)
from flask_smtp_admin.models import AttemptStatus, BreakerState, Status
from tests import rows
from tests.rows import NOW, later


def around(*connections: Any, **more: Any) -> Surroundings:
    for number, connection in enumerate(connections, 1):
        connection.id = number
    return Surroundings(now=NOW, connections={one.id: one for one in connections}, **more)


def deferred(**more: Any) -> Any:
    values: dict[str, Any] = {
        "connection_id": 1,
        "due_at": later(minutes=14),
        "attempts_count": 2,
        "last_attempt_at": later(minutes=-6),
        "reason": "Greylisted.",
        "last_code": 451,
        "last_enhanced": "4.7.1",
        "last_stage": "rcpt",
    }
    return rows.a_message(**{**values, **more})


def test_a_deferred_message_says_why_when_and_until_when() -> None:
    found = explain(deferred(), around(rows.a_connection(), max_attempts=9))
    # 14 min, then 30 min, 1 h, 2 h, 4 h, 8 h and 8 h again after try 8? The table of delays says.
    assert found.sentence == (
        "Deferred: greylisted (451 4.7.1) at RCPT TO. "
        "Try 3 of 9, next in 14 min, gives up tomorrow 00:59."
    )
    assert (found.state, found.kind) == ("Deferred", "wait")
    assert found.detail == "Greylisted (451 4.7.1) at RCPT TO."
    assert found.next_at == later(minutes=14)


def test_the_end_is_the_expiry_where_that_is_sooner() -> None:
    found = explain(deferred(expires_at=later(hours=2)), around(rows.a_connection()))
    assert found.follows == "Try 3 of 9, next in 14 min, gives up at 11:00."


def test_the_last_try_is_called_so() -> None:
    found = explain(deferred(attempts_count=8), around(rows.a_connection()))
    assert found.follows == "Try 9 of 9, the last one, in 14 min."


def test_the_number_of_tries_is_the_messages_then_the_connections_then_the_sites() -> None:
    assert "of 5," in explain(deferred(max_attempts=5), around(rows.a_connection())).follows
    connection = rows.a_connection(max_attempts=4)
    assert "of 4," in explain(deferred(), around(connection)).follows
    assert "of 7," in explain(deferred(), around(rows.a_connection(), max_attempts=7)).follows


def test_a_due_try_without_a_worker_says_so() -> None:
    found = explain(deferred(due_at=NOW), around(rows.a_connection(), worker_alive=False))
    assert found.follows == "Try 3 of 9 is due, but no worker has been seen."


def test_a_message_waits_for_its_time_its_turn_or_a_worker() -> None:
    soon = rows.a_message(connection_id=1, due_at=later(seconds=10))
    assert explain(soon, around(rows.a_connection())).sentence == "Scheduled. Leaves in 10 s."
    far = rows.a_message(connection_id=1, due_at=later(days=2))
    assert explain(far, around(rows.a_connection())).sentence == (
        "Scheduled. Leaves in 2 days, Tuesday 09:00."
    )
    due = rows.a_message(connection_id=1, due_at=later(minutes=-7))
    assert explain(due, around(rows.a_connection())).happened == "Waiting for its turn."
    assert explain(due, around(rows.a_connection(), worker_alive=False)).sentence == (
        "Waiting: due for 7 min, but no worker has been seen. It leaves as soon as a worker runs."
    )


def broken(**health: Any) -> Any:
    values = {
        "breaker": BreakerState.OPEN,
        "failures": 7,
        "failing_since": later(hours=-1),
        "retry_at": later(minutes=4),
        "last_reason": "The server refused the username or the password.",
        "last_code": 535,
        "last_stage": "auth",
    }
    return rows.a_connection(health={**values, **health})


def test_a_message_of_a_broken_connection_waits_for_it() -> None:
    message = rows.a_message(connection_id=1, due_at=later(minutes=-50))
    found = explain(message, around(broken()))
    assert found.sentence == (
        "Waiting: “Main” has been failing since 08:00: the server refused the username or the "
        "password (535) at login. Tried again in 4 min, without spending a try."
    )
    assert next_attempt_at(message, around(broken())) == later(minutes=4)


def test_a_paused_connection_is_not_called_failing() -> None:
    paused = broken(
        breaker=BreakerState.PAUSED,
        failing_since=None,
        last_reason="It has sent 100 messages in this hour.",
        last_code=None,
        last_stage=None,
    )
    found = explain(rows.a_message(connection_id=1), around(paused))
    assert found.sentence == (
        "Waiting: “Main” is paused: it has sent 100 messages in this hour. "
        "Goes on in 4 min, without spending a try."
    )


def test_a_connection_that_is_tried_before_the_message_is_due_does_not_matter() -> None:
    found = explain(deferred(), around(broken(retry_at=later(minutes=1))))
    assert found.state == "Deferred"


def test_a_message_without_a_way_says_which_way_is_missing() -> None:
    message = rows.a_message(connection_id=None)
    assert explain(message, around()).happened == (
        "Waiting: no connection is enabled that could carry it."
    )
    assert explain(message, around(rows.a_connection())).happened == (
        "Waiting: no enabled connection carries mail from shop@example.org."
    )
    message.connection_id = 1
    assert explain(message, around(rows.a_connection(enabled=False))).happened == (
        "Waiting: its connection “Main” is disabled."
    )
    assert next_attempt_at(message, around(rows.a_connection(enabled=False))) is None


def test_a_message_that_waits_for_its_turn_in_a_worker_is_not_being_sent() -> None:
    message = rows.a_message(id=7, status=Status.SENDING, lease_until=later(minutes=9))
    assert explain(message, around(in_progress=frozenset({8}))).sentence == (
        "A worker has it; its turn comes next. Try 1 of 9."
    )
    assert explain(message, around(in_progress=frozenset({7}))).happened == (
        "Being sent now: try 1 of 9."
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"status": Status.SENDING, "attempts_count": 1, "lease_until": later(minutes=9)},
            "Being sent now: try 2 of 9.",
        ),
        (
            {"status": Status.SENDING, "lease_until": later(seconds=-9)},
            (
                "Being sent, but the worker that has it has gone silent. "
                "The next worker that runs takes it over."
            ),
        ),
        (
            {"status": Status.HELD, "reason": "Held by a person."},
            "Held by a person. It waits until somebody releases it.",
        ),
        (
            {"status": Status.HELD, "reason": "Three workers ended while sending it."},
            "Held: three workers ended while sending it. It waits until somebody releases it.",
        ),
        ({"status": Status.SENT, "attempts_count": 1}, "Accepted by the server."),
        (
            {"status": Status.SENT, "attempts_count": 2, "recipient_count": 3},
            "Accepted by the server for all 3 recipients. After 2 tries.",
        ),
        (
            {
                "status": Status.FAILED,
                "attempts_count": 1,
                "reason": "There is no such mailbox.",
                "last_code": 550,
                "last_enhanced": "5.1.1",
                "last_stage": "rcpt",
            },
            (
                "Given up after 1 try: there is no such mailbox (550 5.1.1) at RCPT TO. "
                "Nothing more happens unless somebody retries it."
            ),
        ),
        (
            {"status": Status.PARTIAL, "reason": "There is no such mailbox."},
            (
                "Accepted for some recipients, given up for the others: there is no such mailbox. "
                "A retry offers it only to those who have not got it."
            ),
        ),
        (
            {"status": Status.DELETED, "reason": "Deleted by a person."},
            "Deleted by a person. It is never sent.",
        ),
    ],
)
def test_each_state_has_its_sentence(fields: dict[str, Any], sentence: str) -> None:
    message = rows.a_message(connection_id=1, **fields)
    assert explain(message, around(rows.a_connection())).sentence == sentence


def test_every_state_is_explained() -> None:
    for status in Status:
        assert explain(rows.a_message(status=status), around()).happened.endswith(".")


def test_times_are_told_in_the_sites_zone() -> None:
    connection = rows.a_connection()
    connection.id = 1
    tokyo = Surroundings(now=NOW, zone=ZoneInfo("Asia/Tokyo"), connections={1: connection})
    found = explain(deferred(expires_at=NOW + timedelta(hours=2)), tokyo)
    assert found.follows.endswith("gives up at 20:00.")


def test_a_cause_names_code_and_stage_once() -> None:
    assert cause("The mailbox is full (452).", 452) == "the mailbox is full (452)"
    assert cause("The server refuses to go on (RCPT TO).", 550, None, "rcpt") == (
        "the server refuses to go on (RCPT TO, 550)"
    )
    assert cause("Come back later (greylisting).", 451, "4.7.1", "body") == (
        "come back later (greylisting, 451 4.7.1) after the message"
    )
    refused = "No server listens on this port: the connection was refused."
    assert cause(refused, None, None, "connect") == refused[:-1].replace("No", "no", 1)
    assert cause(None) == "no reason was recorded"
    assert cause("Odd.", None, None, "no-such-stage") == "odd at no-such-stage"


def test_an_attempt_says_what_became_of_it() -> None:
    message = rows.a_message()
    accepted = rows.an_attempt(
        message, status=AttemptStatus.SUCCESS, reply="250 2.0.0 queued as 4F7A12"
    )
    assert explain_attempt(accepted) == "Accepted by mail.example.org: 250 2.0.0 queued as 4F7A12"
    failed = rows.an_attempt(
        message, reason="The server does not answer.", stage="connect", counted=False
    )
    assert explain_attempt(failed) == (
        "The server does not answer on connecting. It spent none of the message's tries."
    )
    assert explain_flight(rows.a_flight(message, worker="web-1:47")) == "Being sent by web-1:47."
    assert explain_flight(rows.a_flight(message)) == "Being sent."
