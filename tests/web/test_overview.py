"""Tests of the overview: the answer in its first line, and the facts below."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from flask_smtp_admin.models import Message, Worker
from tests.apps import engine_of
from tests.rows import later
from tests.web.lists import open_to, store, text_of


def test_all_well_is_the_first_thing_said(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    store(app)
    page = text_of(client.get("/smtp-admin/").text)
    assert (
        "All well: 1 message sent today, nothing that is due waits longer than 1 s; "
        "1 message waits for later."
    ) in page
    assert "1 message was given up today." in page
    assert "1 message is held and waits for somebody to decide." in page
    assert "1 due now since just now" in page
    assert "1 sent today" in page
    assert "web-1 process 47" in page
    assert "Invoice to ann@example.org, 6 min ago Greylisted (451)." in page


def test_a_missing_worker_is_the_first_thing_said(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    store(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.update(Worker).values(seen_at=later(minutes=-6)))
        connection.execute(
            sa.text("UPDATE smtp_admin_message SET due_at = :at WHERE status = 'queued'"),
            {"at": "2026-11-22 08:50:00.000000"},
        )
    page = text_of(client.get("/smtp-admin/").text)
    assert "No worker has been seen for 6 min; 2 messages are due." in page
    assert "flask --app YOUR_APP smtp-admin worker" in page
    assert "All well" not in page


def test_nothing_due_is_not_nothing_that_waits(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    stored = store(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.delete(Message).where(Message.id == stored.waiting.id))
    page = text_of(client.get("/smtp-admin/").text)
    assert "0 due now nothing is due 1 waiting for later" in page
    assert "nothing waits to be sent" not in page


def test_due_mail_without_a_worker_is_said_at_once(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    store(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.delete(Worker))
    page = text_of(client.get("/smtp-admin/").text)
    assert "No worker runs; 1 message is due." in page
    assert "All well" not in page
    assert "nothing waits for one yet" not in page


def test_a_fresh_application_is_told_how_to_begin(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    page = text_of(client.get("/smtp-admin/").text)
    assert "Nothing can be sent yet: no connection is enabled." in page
    assert "Set up a connection" in page


def test_a_failure_leads_to_its_message_while_that_is_there(
    app: Flask, client: FlaskClient
) -> None:
    open_to(app)
    stored = store(app)
    link = f'/messages/{stored.deferred.id}"'
    page = client.get("/smtp-admin/").text
    assert link in page
    assert "Greylisted (451) at RCPT TO." in page
    with engine_of(app).begin() as connection:
        connection.execute(sa.delete(Message).where(Message.id == stored.deferred.id))
    page = client.get("/smtp-admin/").text
    assert link not in page
    assert "Greylisted (451) at RCPT TO." in page


def test_it_is_closed_like_every_page(app: Flask, client: FlaskClient) -> None:
    assert client.get("/smtp-admin/").status_code == 403
