"""The signals: who sends them, what they carry, and that no receiver can do harm."""

from __future__ import annotations

import dataclasses
import json
import logging
from datetime import datetime, timezone
from email.message import EmailMessage
from typing import Any

import pytest
from flask import Flask, current_app

from flask_smtp_admin import SMTPAdmin, signals
from tests.apps import MakeApp, bare_app

AT = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)

FIELDS = {
    "code": str,
    "occurred_at": datetime,
    "message_id": int,
    "recipient": str,
    "sender": str,
    "subject": str,
    "connection": str,
    "host": str,
    "port": int,
    "ssl": bool,
    "requires_auth": bool,
    "stage": str,
    "smtp_code": int,
    "enhanced_code": str,
    "reply": str,
    "attempt": int,
    "max_attempts": int,
    "next_attempt_at": datetime,
    "final": bool,
}
"""What the contract promises."""


def a_message(**headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.org>"
    message["To"] = "Ada <Ada@Example.org>"
    message["Subject"] = "Your order"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Thank you.")
    return message


def test_an_event_has_the_fields_of_the_contract() -> None:
    assert [field.name for field in dataclasses.fields(signals.Event)] == list(FIELDS)
    event = signals.Event(code="message_sent", occurred_at=AT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.code = "x"  # type: ignore[misc]


@pytest.mark.parametrize("code", sorted(signals.BY_CODE))
def test_every_code_has_a_signal_of_its_name_with_a_docstring(code: str) -> None:
    signal = getattr(signals, code)
    assert signals.BY_CODE[code] is signal
    assert signal.name == code
    assert (signal.__doc__ or "").strip()


def test_an_event_is_fit_for_json() -> None:
    event = signals.Event(code="delivery_failed", occurred_at=AT, next_attempt_at=AT, port=25)
    read = json.loads(json.dumps(event.as_dict()))
    assert read["occurred_at"] == "2026-11-22T09:00:00+00:00"
    assert read["port"] == 25
    assert set(read) == set(FIELDS)


def test_queued_carries_what_the_contract_says(make_app: MakeApp) -> None:
    app = make_app()
    caught: list[tuple[Any, signals.Event]] = []

    def note(sender: Flask, event: signals.Event) -> None:
        assert current_app == sender
        caught.append((sender, event))

    with signals.message_queued.connected_to(note), app.app_context():
        stored = smtp_admin_of(app).send(a_message())
    ((sender, event),) = caught
    assert sender is app
    assert event.code == "message_queued"
    assert event.message_id == stored.id
    assert event.recipient == "Ada@Example.org"
    assert event.sender == "shop@example.org"
    assert event.subject == "Your order"
    assert event.attempt == 0
    assert event.next_attempt_at == stored.due_at
    assert event.occurred_at.utcoffset() is not None
    assert event.final is False
    for name, kind in FIELDS.items():
        value = getattr(event, name)
        assert value is None or isinstance(value, kind)


def smtp_admin_of(app: Flask) -> SMTPAdmin:
    """Any object serves any application that one was made for: the context decides."""
    return SMTPAdmin()


def test_a_receiver_hears_only_of_the_application_it_asked_for(make_app: MakeApp) -> None:
    one, two = make_app(), make_app()
    heard: list[Flask] = []

    def note(sender: Flask, event: signals.Event) -> None:
        heard.append(sender)

    with signals.message_queued.connected_to(note, sender=one):
        for app in (two, one):
            with app.app_context():
                smtp_admin_of(app).send(a_message())
    assert heard == [one]


@pytest.mark.parametrize("error", [RuntimeError("it is broken"), SystemExit("it is broken")])
def test_a_receiver_that_raises_is_logged_and_stops_nobody(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    app = make_app()
    heard: list[str] = []

    def raises(sender: Flask, event: signals.Event) -> None:
        raise error

    def note(sender: Flask, event: signals.Event) -> None:
        heard.append(event.code)

    with (
        signals.message_queued.connected_to(raises),
        signals.message_queued.connected_to(note),
        caplog.at_level(logging.ERROR, "flask_smtp_admin"),
        app.app_context(),
    ):
        assert smtp_admin_of(app).send(a_message()).id
        assert smtp_admin_of(app).send(a_message()).id
    assert heard == ["message_queued", "message_queued"]
    assert [record.getMessage() for record in caplog.records] == [
        "A receiver of the signal message_queued raised an exception."
    ] * 2
    assert "it is broken" in caplog.text


def test_a_receiver_may_send_a_message_itself(make_app: MakeApp) -> None:
    app = make_app()
    heard: list[str | None] = []

    def answer(sender: Flask, event: signals.Event) -> None:
        heard.append(event.subject)
        if len(heard) < 3:
            message = a_message()
            message.replace_header("Subject", f"Copy {len(heard)}")
            smtp_admin_of(app).send(message)

    with signals.message_queued.connected_to(answer), app.app_context():
        smtp_admin_of(app).send(a_message())
    assert heard == ["Your order", "Copy 1", "Copy 2"]


def test_a_code_without_a_signal_is_a_mistake_of_ours(tmp_path: Any) -> None:
    with pytest.raises(KeyError):
        signals.publish(bare_app(tmp_path), signals.Event(code="nothing", occurred_at=AT))
