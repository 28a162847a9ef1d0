"""Tests of the page of one message."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from flask_smtp_admin.models import Message, Status
from tests import rows
from tests.apps import engine_of
from tests.rows import later
from tests.web.lists import Stored, open_to, store, text_of


@pytest.fixture
def stored(app: Flask) -> Stored:
    open_to(app)
    return store(app)


def url(message: object, more: str = "") -> str:
    return f"/smtp-admin/messages/{getattr(message, 'id', message)}{more}"


def test_it_tells_state_recipients_and_attempts(stored: Stored, client: FlaskClient) -> None:
    page = text_of(client.get(url(stored.deferred)).text)
    assert "Deferred Greylisted (451 4.7.1) at RCPT TO. Try 3 of 9, next in 14 min" in page
    assert "ann@example.org Pending" in page
    assert page.index("try 2") < page.index("try 1")
    assert "TLSv1.3" in page
    assert "1.7 s" in page
    assert "Nothing to change." in page
    assert "worker web-1:47" in page


def test_the_servers_words_are_never_markup(stored: Stored, client: FlaskClient) -> None:
    page = client.get(url(stored.deferred)).text
    assert "SMTP dialogue, 3 lines" in page
    assert "220 &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "451 4.7.1 &lt;i&gt;later&lt;/i&gt;" in page


def test_no_body_is_shown(stored: Stored, client: FlaskClient) -> None:
    assert "SECRET BODY" not in client.get(url(stored.deferred)).text


def test_a_message_offers_what_fits_its_state(stored: Stored, client: FlaskClient) -> None:
    def offered(message: object) -> set[str]:
        page = client.get(url(message)).text
        return {word for word in ("Retry now", "Hold", "Release", "Delete…") if f">{word}<" in page}

    assert offered(stored.waiting) == {"Retry now", "Hold", "Delete…"}
    assert offered(stored.held) == {"Retry now", "Release", "Delete…"}
    assert offered(stored.failed) == {"Retry now", "Delete…"}
    assert offered(stored.sent) == offered(stored.sending) == set()


def test_acts_on_one_message(stored: Stored, client: FlaskClient) -> None:
    def act(name: str, **fields: object) -> str:
        answer = client.post(url(stored.waiting), data={"act": name, **fields})
        assert answer.status_code == 303
        return text_of(client.get(answer.location).text)

    assert "The message is held." in act("hold")
    assert "The message was released." in act("release")
    assert "The message was set to be tried at once." in act("retry")
    assert "The message was moved." in act("move", to=stored.bulk.id)
    assert stored.column(stored.waiting, Message.connection_id) == stored.bulk.id
    assert "choose the connection" in act("move", to="")
    assert "There is no connection 999" in act("move", to="999")
    assert "Nothing was changed. Only held messages can be released." in act("release")


def fail_again(stored: Stored) -> None:
    """Have the failed message put back, and its next try fail, too."""
    engine = engine_of(stored.app)
    rows.add(engine, rows.an_attempt(stored.failed, number=1, reason="No.", smtp_code=451))
    rows.add(engine, rows.an_attempt(stored.failed, number=2, reason="No.", smtp_code=550))
    rows.add(engine, rows.an_attempt(stored.failed, number=1, reason="No.", smtp_code=451))
    with engine.begin() as connection:
        connection.execute(
            sa.update(Message)
            .where(Message.id == stored.failed.id)
            .values(status=Status.QUEUED, attempts_count=1, due_at=later(minutes=5))
        )


def test_tries_from_before_it_was_put_back_are_told_apart(
    stored: Stored, client: FlaskClient
) -> None:
    fail_again(stored)
    page = text_of(client.get(url(stored.failed)).text)
    assert re.findall(r"try \d(?: since it was put back)?", page) == [
        "try 1 since it was put back",
        "try 2",
        "try 1",
    ]
    assert "Tries 1 of 9 and 2 before it was put back" in page
    queue = text_of(client.get("/smtp-admin/queue/?q=to:nobody").text)
    assert "1 +2 earlier" in queue
    assert "earlier" not in text_of(client.get("/smtp-admin/queue/?q=to:ann").text)
    assert "before it was put back" not in text_of(client.get(url(stored.deferred)).text)


def test_an_attempt_in_progress_stands_above_the_others(
    stored: Stored, client: FlaskClient
) -> None:
    page = text_of(client.get(url(stored.sending)).text)
    assert "IN PROGRESS , try 1 just now Being sent by web-1:47. Main" in page
    fail_again(stored)
    going = rows.a_flight(stored.failed, number=2, detour="It fell over.")
    engine = engine_of(stored.app)
    rows.add(engine, going)
    with engine.begin() as connection:
        connection.execute(sa.update(Message).values(status=Status.SENDING))
    page = text_of(client.get(url(stored.failed)).text)
    sentence, *attempts = re.findall(r"try \d(?: since it was put back)?", page)
    assert sentence == "try 2"
    assert attempts == [
        "try 2 since it was put back",
        "try 1 since it was put back",
        "try 2",
        "try 1",
    ]
    assert "(mail.example.org:587) It fell over." in page


def test_a_chosen_connection_that_is_gone_is_called_so(stored: Stored, client: FlaskClient) -> None:
    with engine_of(stored.app).begin() as connection:
        connection.execute(sa.update(Message).values(connection_id=None, pinned=True))
    page = text_of(client.get(url(stored.sent)).text)
    assert "Connection the one that was chosen is deleted From" in page
    assert "chosen on purpose" not in page


def test_deleting_asks_first(stored: Stored, client: FlaskClient) -> None:
    question = client.get(url(stored.waiting, "/delete"))
    assert "Delete this unsent message?" in question.text
    assert stored.status(stored.waiting) is Status.QUEUED
    client.post(url(stored.waiting), data={"act": "delete"})
    assert stored.status(stored.waiting) is Status.DELETED
    page = text_of(client.get(url(stored.waiting)).text)
    assert "It is never sent." in page
    assert "Not sent" in page


def test_an_unknown_message_is_a_page_of_ours(stored: Stored, client: FlaskClient) -> None:
    for answer in (
        client.get(url(9999)),
        client.get(url(9999, "/delete")),
        client.post(url(9999), data={"act": "hold"}),
    ):
        assert answer.status_code == 404
        assert "There is no message 9999." in answer.text
    assert client.post(url(stored.sent), data={"act": "x"}).status_code == 400
    beyond = {"act": "move", "to": "9" * 30}
    assert client.post(url(stored.sent), data=beyond).status_code == 400
    beyond["to"] = "9" * 400
    assert client.post(url(stored.sent), data=beyond).status_code == 400


def test_looking_is_not_steering(app: Flask, client: FlaskClient) -> None:
    open_to(app, "view")
    stored = store(app)
    assert "Retry now" not in client.get(url(stored.waiting)).text
    assert client.post(url(stored.waiting), data={"act": "hold"}).status_code == 403
    assert client.get(url(stored.waiting, "/delete")).status_code == 403
