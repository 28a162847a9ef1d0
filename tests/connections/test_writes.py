"""Changing connections: what the database has to hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import connections
from flask_smtp_admin.core import Core
from flask_smtp_admin.errors import (
    ConfigurationError,
    ConnectionRefused,
    InvalidConnection,
    UnknownConnection,
)
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Message, Status
from tests import rows
from tests.cores import Heard, a_core

FIELDS: dict[str, Any] = {
    "caption": "Main",
    "host": "smtp.example.org",
    "sender_name": "Shop",
    "sender_address": "shop@example.org",
    "username": "shop",
    "password": "s3cret",
}


def create(core: Core, caption: str = "Main", **changes: Any) -> int:
    return connections.create(core, {**FIELDS, "caption": caption, **changes})


def get(core: Core, number: int) -> Connection:
    with core.database.session() as session:
        found = session.get(Connection, number)
    assert found is not None
    return found


def order(core: Core) -> list[int]:
    with core.database.session() as session:
        return list(session.scalars(sa.select(Connection.id).order_by(*connections.ORDER)))


def carrier(core: Core, message: Message) -> int | None:
    with core.database.session() as session:
        return session.scalar(sa.select(Message.connection_id).where(Message.id == message.id))


def test_the_password_is_stored_encrypted(core: Core) -> None:
    number = create(core)
    stored = get(core, number)
    assert "s3cret" not in str(stored.password_token)
    assert stored.password(core.keys) == "s3cret"
    assert "s3cret" not in repr(stored)


def test_without_a_key_nothing_is_stored(sqlite_url: str) -> None:
    with a_core(sqlite_url, keys=()) as (core, _):
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            create(core)
        assert order(core) == []


def test_an_empty_password_keeps_the_stored_one(core: Core) -> None:
    number = create(core)
    connections.update(core, number, {"sender_name": "New", "password": ""})
    assert get(core, number).password(core.keys) == "s3cret"
    connections.update(core, number, {"password": "other"})
    assert get(core, number).password(core.keys) == "other"
    connections.update(core, number, {"clear_password": True})
    assert get(core, number).password_token is None


def test_equal_captions(core: Core) -> None:
    first, second = create(core, "One"), create(core, "Two")
    with pytest.raises(InvalidConnection) as refused:
        create(core, "one")
    assert "caption" in refused.value.errors
    with pytest.raises(InvalidConnection):
        connections.update(core, second, {"caption": "One"})
    connections.update(core, first, {"caption": "ONE"})


def test_the_only_enabled_connection_stays(core: Core) -> None:
    number = create(core)
    for act in (connections.disable, connections.delete):
        with pytest.raises(ConnectionRefused, match="“Main” is the only enabled connection"):
            act(core, number)
    with pytest.raises(InvalidConnection) as refused:
        connections.update(core, number, {"enabled": False})
    assert "can't be disabled" in refused.value.errors["enabled"]
    assert get(core, number).enabled


def test_the_only_connection_cannot_be_made_disabled(core: Core) -> None:
    with pytest.raises(InvalidConnection, match="only connection can't be disabled"):
        create(core, enabled=False)


def test_with_a_second_one_the_first_can_go(core: Core) -> None:
    first, second = create(core, "One"), create(core, "Two")
    assert connections.disable(core, first) is True
    assert connections.disable(core, first) is False
    with pytest.raises(ConnectionRefused):
        connections.disable(core, second)
    assert connections.delete(core, first) == "One"
    assert order(core) == [second]


@pytest.fixture
def any_core(database_url: str) -> Iterator[tuple[Core, Heard]]:
    with a_core(database_url) as made:
        yield made


def test_two_people_cannot_disable_the_last_two(any_core: tuple[Core, Heard]) -> None:
    core, _ = any_core
    numbers = [create(core, f"Connection {n}") for n in range(4)]
    together = threading.Barrier(len(numbers))
    refused: list[int] = []

    def disable(number: int) -> None:
        together.wait()
        try:
            connections.disable(core, number)
        except ConnectionRefused:
            refused.append(number)

    threads = [threading.Thread(target=disable, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert [number for number in numbers if get(core, number).enabled] == refused


def test_every_change_on_every_database(any_core: tuple[Core, Heard]) -> None:
    core, heard = any_core
    first, second = create(core, "One"), create(core, "Two")
    connections.update(core, first, {"sender_name": "Änderung", "limit_per_hour": "10"})
    connections.move(core, second, -1)
    copy = connections.clone(core, first)
    connections.enable(core, copy)
    connections.disable(core, first)
    connections.delete(core, second)
    assert order(core) == [first, copy]
    assert get(core, copy).limit_per_hour == 10
    assert heard.rings >= 8


def test_clone(core: Core) -> None:
    number = create(core, "x" * 100, limit_per_day=5)
    copy = get(core, connections.clone(core, number))
    again = get(core, connections.clone(core, number))
    assert copy.caption == "x" * 93 + " (copy)"
    assert again.caption.endswith(" (copy 2)")
    assert len(again.caption) <= 100
    assert not copy.enabled
    assert copy.limit_per_day == 5
    assert copy.password(core.keys) == "s3cret"
    assert copy.password_token != get(core, number).password_token


def test_clone_of_an_unreadable_password(sqlite_url: str) -> None:
    with a_core(sqlite_url) as (core, _):
        number = create(core)
    with a_core(sqlite_url, keys=("another key",)) as (core, _):
        copy = get(core, connections.clone(core, number))
        assert copy.password_token is None
        assert get(core, number).password_token is not None


def test_order(core: Core) -> None:
    one, two, three = (create(core, caption) for caption in ("One", "Two", "Three"))
    connections.move(core, three, -1)
    assert order(core) == [one, three, two]
    connections.move(core, one, 1)
    assert order(core) == [three, one, two]
    connections.move(core, three, -1)
    connections.move(core, two, 1)
    assert order(core) == [three, one, two]


def test_unknown_numbers(core: Core) -> None:
    create(core)
    for act in (connections.enable, connections.disable, connections.delete, connections.clone):
        with pytest.raises(UnknownConnection, match="99"):
            act(core, 99)
    with pytest.raises(UnknownConnection):
        connections.move(core, 99, 1)


@pytest.mark.parametrize("change", [{"host": "b.example.org", "password": "s3cret"}, {}])
def test_a_changed_connection_is_tried_at_once(
    core: Core, heard: Heard, change: dict[str, str]
) -> None:
    number = create(core)
    with core.database.write() as connection:
        connection.execute(
            sa.update(ConnectionHealth).values(
                breaker=BreakerState.OPEN,
                failures=7,
                failing_since=core.now(),
                retry_at=core.now() + timedelta(minutes=5),
            )
        )
    rung = heard.rings
    connections.update(core, number, change)
    health = get(core, number).health
    assert (health.breaker, health.failures) == (BreakerState.CLOSED, 0)
    assert health.retry_at is None
    assert health.failing_since is None
    assert heard.rings > rung


# ---------------------------------------------------------------- messages that wait


def test_waiting_messages_get_the_first_connection(core: Core) -> None:
    message = rows.a_message()
    rows.add(core.database.engine, message)
    assert carrier(core, message) is None
    number = create(core)
    assert carrier(core, message) == number


def test_messages_leave_a_disabled_connection_but_for_those_that_were_given_to_it(
    core: Core,
) -> None:
    first, second = create(core, "One"), create(core, "Two")
    free = rows.a_message(connection_id=first)
    pinned = rows.a_message("bob@example.org", connection_id=first, pinned=True)
    rows.add(core.database.engine, free, pinned)
    connections.disable(core, first)
    assert carrier(core, free) == second
    assert carrier(core, pinned) == first
    connections.delete(core, first)
    assert carrier(core, pinned) == second


def test_a_message_under_way_survives_the_deletion(core: Core) -> None:
    first = create(core, "One")
    create(core, "Two")
    message = rows.a_message(connection_id=first, status=Status.SENDING)
    rows.add(core.database.engine, message)
    connections.delete(core, first)
    with core.database.session() as session:
        kept = session.get(Message, message.id)
    assert kept is not None
    assert kept.connection_id is None


def test_a_choice_of_a_connection_ends_with_it(core: Core) -> None:
    first = create(core, "One")
    create(core, "Two")
    message = rows.a_message(connection_id=first, pinned=True, status=Status.FAILED)
    rows.add(core.database.engine, message)
    connections.delete(core, first)
    with core.database.session() as session:
        kept = session.get(Message, message.id)
    assert kept is not None
    assert not kept.pinned, "put back, it goes to a connection that nobody chose"


def test_a_fallback_that_is_deleted_is_forgotten(core: Core) -> None:
    first = create(core, "One")
    second = create(core, "Two", fallback_id=first)
    assert get(core, second).fallback_id == first
    connections.delete(core, first)
    assert get(core, second).fallback_id is None
