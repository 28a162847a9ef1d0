"""Tests of ``flask smtp-admin queue``: the search language of the pages, on the command line."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_smtp_admin import paging
from flask_smtp_admin.models import Message, Status
from tests.web.lists import Stored, open_to, store


@pytest.fixture
def stored(app: Flask) -> Stored:
    open_to(app)
    return store(app)


def run(stored: Stored, *arguments: str, typed: str = "") -> tuple[int, str]:
    result = stored.app.test_cli_runner().invoke(
        args=["smtp-admin", "queue", *arguments], input=typed
    )
    return result.exit_code, result.output


def test_list_explains_each_message(stored: Stored) -> None:
    code, output = run(stored, "list")
    assert code == 0
    assert "bob@example.org +2 more  Your order" in output
    assert (
        "Deferred: greylisted (451 4.7.1) at RCPT TO. Try 3 of 9, next in 14 min, gives up "
        "tomorrow 00:59."
    ) in output
    assert "hal@example.org" not in output


def test_list_searches_and_says_how_much_there_is(stored: Stored) -> None:
    assert "hal@example.org" in run(stored, "list", "status:sent")[1]
    assert "No message matches." in run(stored, "list", "to:nobody-like-this")[1]
    assert "2 of 5 messages; --limit shows more." in run(stored, "list", "--limit", "2")[1]


def test_what_is_not_understood_is_said(stored: Stored) -> None:
    code, output = run(stored, "hold", "form:ann")
    assert code == 2
    assert "Did you mean “from:”?" in output


def test_an_act_needs_a_search_or_all(stored: Stored) -> None:
    for name in ("retry", "hold", "release", "delete"):
        code, output = run(stored, name)
        assert code == 2
        assert "Say which messages: a search such as status:held, or --all." in output
        code, output = run(stored, name, "--all", "to:ann")
        assert code == 2
        assert "Give a search or --all, not both." in output


def test_the_help_says_what_a_search_is_and_what_all_are(stored: Stored) -> None:
    for name, meant in {
        "list": "",
        "retry": "Every message that is waiting, held, failed or partly delivered.",
        "hold": "Every waiting message.",
        "release": "Every held message.",
        "move": "Every waiting or held message.",
        "delete": "Every message that is waiting, held or failed.",
    }.items():
        shown = run(stored, name, "--help")[1]
        assert "SEARCH is written as on the page of the queue" in shown
        assert meant in shown


def test_messages_are_held_released_and_retried(stored: Stored) -> None:
    assert run(stored, "hold", "to:bob") == (0, "1 message is held.\n")
    assert stored.status(stored.waiting) is Status.HELD
    assert run(stored, "release", "status:held") == (0, "2 messages were released.\n")
    assert run(stored, "retry", "--all") == (0, "4 messages were set to be tried at once.\n")
    assert stored.status(stored.failed) is Status.QUEUED


def test_messages_are_moved_to_another_connection(stored: Stored) -> None:
    assert run(stored, "move", "bulk", "to:bob") == (0, "1 message was moved to “Bulk”.\n")
    assert stored.column(stored.waiting, Message.connection_id) == stored.bulk.id
    assert stored.column(stored.waiting, Message.pinned)
    assert stored.column(stored.deferred, Message.connection_id) == stored.main.id


def test_a_move_needs_a_connection_that_there_is_and_says_when_it_is_disabled(
    stored: Stored,
) -> None:
    code, output = run(stored, "move", "nobody", "to:bob")
    assert code == 1
    assert "“Main” and “Bulk”" in output
    assert run(stored, "move", "Bulk")[0] == 2
    stored.app.test_cli_runner().invoke(args=["smtp-admin", "connections", "disable", "Bulk"])
    assert "until it is enabled" in run(stored, "move", "Bulk", "to:bob")[1]


def test_all_means_all_however_many(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "ACT_LIMIT", 2)
    monkeypatch.setattr(paging, "RARE", 0)
    assert run(stored, "hold", "--all") == (0, "2 messages are held.\n")
    assert stored.status(stored.deferred) is stored.status(stored.waiting) is Status.HELD


def test_deleting_asks_unless_told_not_to(stored: Stored) -> None:
    code, output = run(stored, "delete", "--all", typed="n\n")
    assert code == 1
    assert "Delete 4 unsent messages?" in output
    assert stored.status(stored.waiting) is Status.QUEUED
    assert "No unsent message matches." in run(stored, "delete", "status:sent")[1]
    assert run(stored, "delete", "to:bob", "--yes") == (0, "1 message was deleted.\n")
    assert stored.status(stored.waiting) is Status.DELETED
