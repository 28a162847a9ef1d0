"""How a connection fares, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_smtp_admin.connections import HealthWords, describe, waiting_counts
from flask_smtp_admin.core import Core
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.models import BreakerState
from flask_smtp_admin.wording import Count
from tests.rows import NOW, a_connection, a_message, add

OPEN = {"breaker": BreakerState.OPEN, "failures": 5, "failing_since": NOW - timedelta(minutes=30)}


def words(waiting: int | Count = 0, *, health: dict[str, Any], **fields: Any) -> HealthWords:
    from datetime import timezone

    health = {"breaker": BreakerState.CLOSED, "failures": 0, **health}
    connection = a_connection(health=health, **{"use_auth": False, **fields})
    return describe(connection, waiting=waiting, now=NOW, zone=timezone.utc, keys=KeyRing(["k"]))


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("auth", "Refuses our login since 08:30"),
        ("connect", "Cannot be reached since 08:30"),
        ("resolve", "Its host name is not found since 08:30"),
        ("tls", "Cannot be encrypted safely since 08:30"),
        ("data", "Fails since 08:30"),
    ],
)
def test_broken(stage: str, problem: str) -> None:
    found = words(214, health={**OPEN, "last_stage": stage, "retry_at": NOW + timedelta(minutes=3)})
    assert found.mark == "fail"
    assert found.sentence == f"{problem}; 214 messages wait. Next try in 3 min."


def test_one_message_waits() -> None:
    assert "1 message waits" in words(1, health=OPEN).sentence
    assert "100,000+ messages wait" in words(Count(100_000, more=True), health=OPEN).sentence


def test_the_other_states() -> None:
    assert words(health={"last_ok_at": NOW - timedelta(minutes=3)}).sentence == (
        "Works, last used 3 min ago."
    )
    assert words(health={}).mark == "wait"
    assert words(health=OPEN, enabled=False).sentence == "Disabled."
    paused = words(health={"breaker": BreakerState.PAUSED, "retry_at": NOW + timedelta(hours=1)})
    assert (paused.mark, paused.next) == ("held", "It goes on in 1 h")
    assert words(health={"failures": 2}).mark == "warn"


def test_secrets() -> None:
    missing = words(health={}, use_auth=True, username="u")
    assert missing.state == "No password is stored"
    unreadable = a_connection(use_auth=True, username="u", uid="a" * 32)
    unreadable.set_password("s3cret", KeyRing(["former"]), NOW)
    found = describe(unreadable, waiting=0, now=NOW, zone=NOW.tzinfo, keys=KeyRing(["present"]))  # type: ignore[arg-type]
    assert found.mark == "fail"
    assert "Put the former key back" in found.advice


def test_waiting_messages_are_counted_for_each_connection(core: Core) -> None:
    one, two = a_connection("One"), a_connection("Two")
    add(core.database.engine, one, two)
    add(core.database.engine, a_message(connection_id=one.id), a_message(connection_id=one.id))
    with core.database.session() as session:
        counts = waiting_counts(session, [one, two])
    assert [str(counts[one.id]), str(counts[two.id])] == ["2", "0"]
