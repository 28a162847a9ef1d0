"""Drivers of the host: another way to deliver than SMTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_smtp_admin import SMTPAdmin, connections
from flask_smtp_admin.connections import drivers
from flask_smtp_admin.errors import ConfigurationError, DeliveryRefused, InvalidConnection
from flask_smtp_admin.models import Connection
from flask_smtp_admin.smtp import Endpoint, Envelope
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Whatever a test registers is gone after it."""
    yield
    drivers.DRIVERS.pop("file", None)
    drivers._deliveries.pop("file", None)


def register_file_driver(folder: Path) -> None:
    @SMTPAdmin().driver("file", label="A folder")
    def to_folder(envelope: Envelope, settings: Endpoint) -> str:
        if "nosuch" in envelope.recipients[0]:
            raise DeliveryRefused(550, "no such person")
        if "broken" in envelope.recipients[0]:
            raise OSError("the disk is full")
        (folder / settings.host).write_bytes(envelope.content)
        return "written down"


def by_file(bench: Bench, catchall: CatchAll) -> int:
    number = bench.connection(catchall, "Folder")
    bench.change(Connection, Connection.id == number, driver="file", host="letters")
    return number


def test_a_hosts_driver_carries_messages_and_its_words_are_kept(
    bench: Bench, catchall: CatchAll, tmp_path: Path
) -> None:
    register_file_driver(tmp_path)
    by_file(bench, catchall)
    number = bench.send(subject="By another way")
    assert bench.work() == 1
    assert b"Subject: By another way" in (tmp_path / "letters").read_bytes()
    assert bench.message(number).status == "sent"
    assert bench.attempts(number)[0].reply == "250 written down"
    assert not catchall.messages


def test_a_refusal_and_an_exception_of_a_driver_mean_never_and_later(
    bench: Bench, catchall: CatchAll, tmp_path: Path
) -> None:
    register_file_driver(tmp_path)
    by_file(bench, catchall)
    refused, broken = bench.send("nosuch@example.org"), bench.send("broken@example.org")
    bench.work()
    assert bench.message(refused).status == "failed"
    assert bench.message(refused).last_reply == "550 no such person"
    assert bench.message(broken).status == "queued"
    assert "the disk is full" in str(bench.message(broken).last_reply)


def test_what_a_driver_may_have_handed_over_goes_only_once_if_that_is_asked_for(
    bench: Bench, catchall: CatchAll, tmp_path: Path
) -> None:
    register_file_driver(tmp_path)
    by_file(bench, catchall)
    number = bench.send("broken@example.org", at_most_once=True)
    refused = bench.send("nosuch@example.org", at_most_once=True)
    bench.work()
    assert bench.message(number).status == "held"
    assert "It may have arrived" in str(bench.message(number).reason)
    assert bench.message(refused).status == "failed"


@pytest.mark.parametrize("words", ["nul \0", "half a letter \udc00", "two\nlines"])
def test_words_that_no_database_takes_cost_no_message(
    each_bench: Bench, catchall: CatchAll, words: str
) -> None:
    delivered: list[str] = []

    @SMTPAdmin().driver("file")
    def say(envelope: Envelope, settings: Endpoint) -> str:
        delivered.extend(envelope.recipients)
        if "nosuch" in envelope.recipients[0]:
            raise DeliveryRefused(550, words)
        return words

    by_file(each_bench, catchall)
    sent = each_bench.send("ada@example.org")
    refused, after = each_bench.send("nosuch@example.org"), each_bench.send("bob@example.org")
    each_bench.work()
    assert sorted(delivered) == ["ada@example.org", "bob@example.org", "nosuch@example.org"]
    for number, status, said in (
        (sent, "sent", 250),
        (refused, "failed", 550),
        (after, "sent", 250),
    ):
        message = each_bench.message(number)
        assert (message.status, message.crash_count, message.last_code) == (status, 0, said)
        [attempt] = each_bench.attempts(number)
        assert len(attempt.dialogue.splitlines()) == 1


def test_a_driver_that_nobody_registers_keeps_the_messages_and_says_so(
    bench: Bench, catchall: CatchAll
) -> None:
    number = by_file(bench, catchall)
    message = bench.send()
    bench.work()
    assert bench.message(message).status == "queued"
    assert "No driver 'file' is registered" in str(bench.health(number).last_reason)


def test_a_connection_takes_only_registered_drivers(
    bench: Bench, catchall: CatchAll, tmp_path: Path
) -> None:
    number = bench.connection(catchall, "Folder")
    with pytest.raises(InvalidConnection) as refusal:
        connections.update(bench.core, number, {"driver": "file"})
    assert set(refusal.value.errors) == {"driver"}
    register_file_driver(tmp_path)
    connections.update(bench.core, number, {"driver": "file"})


def test_testing_such_a_connection_delivers_or_says_that_there_is_nothing_to_try(
    bench: Bench, catchall: CatchAll, tmp_path: Path
) -> None:
    register_file_driver(tmp_path)
    number = by_file(bench, catchall)
    with bench.core.database.session() as session:
        stored = session.get_one(Connection, number)
        endpoint = connections.trial_endpoint(stored, bench.core)
        dry = connections.run(stored, endpoint, bench.core)
        real = connections.run(stored, endpoint, bench.core, to="ann@example.org")
        refused = connections.run(stored, endpoint, bench.core, to="nosuch@example.org")
    assert dry.ok
    assert not dry.delivered
    assert real.delivered
    assert b"Test message" in (tmp_path / "letters").read_bytes()
    assert not refused.ok
    assert refused.failed is not None
    assert str(refused.failed.reply) == "550 no such person"


@pytest.mark.parametrize("name", ["smtp", "", "Big", "a b", "x" * 41])
def test_a_name_that_cannot_be_a_driver_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a driver"):
        connections.register(name, lambda envelope, settings: "")


def test_a_refusal_needs_a_code_that_refuses() -> None:
    with pytest.raises(ValueError, match="250 is no refusal"):
        DeliveryRefused(250, "fine")
