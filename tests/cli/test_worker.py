"""Tests of what ``flask smtp-admin worker --burst`` says; its work is tested in tests/dispatch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import current_app
from flask_mail import Message

from flask_smtp_admin import SMTPAdmin
from tests.apps import bare_app
from tests.servers.catchall import CatchAll


@pytest.fixture
def smtp_admin(tmp_path: Path, catchall: CatchAll) -> Iterator[SMTPAdmin]:
    app = bare_app(tmp_path / "instance")
    smtp_admin = SMTPAdmin(app)
    with app.app_context():
        add_connection(smtp_admin, catchall)
        yield smtp_admin


def add_connection(smtp_admin: SMTPAdmin, server: CatchAll) -> None:
    smtp_admin.add_connection(
        caption="Main relay",
        host="127.0.0.1",
        port=server.port,
        encryption="none",
        use_auth=False,
        sender_name="Shop",
        sender_address="shop@example.org",
    )


def send(smtp_admin: SMTPAdmin, delay: float | None = None) -> None:
    message = Message("Your order", recipients=["ann@example.org"], body="x")
    smtp_admin.send(message, delay=delay)


def burst() -> list[str]:
    result = current_app.test_cli_runner().invoke(args=["smtp-admin", "worker", "--burst"])
    assert result.exit_code == 0, result.output
    lines: list[str] = result.output.splitlines()
    return lines


def test_a_burst_that_leaves_nothing_says_no_more(smtp_admin: SMTPAdmin) -> None:
    send(smtp_admin)
    assert burst() == ["1 message accepted by its server."]


def test_a_burst_says_what_it_leaves(smtp_admin: SMTPAdmin) -> None:
    send(smtp_admin)
    send(smtp_admin, delay=3600)
    assert burst()[1:] == ["Left: waiting for later 1."]


def test_a_burst_says_what_keeps_the_rest(smtp_admin: SMTPAdmin, catchall: CatchAll) -> None:
    catchall.stop()
    send(smtp_admin)
    said = burst()
    assert said[:2] == ["0 messages accepted by their servers.", "Left: due now 1."]
    assert said[2].startswith("“Main relay” failed a moment ago: ")
    assert "1 message waits" in said[2]
    assert len(said) == 3, "that no worker runs is no news"
