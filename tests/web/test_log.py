"""Tests of the log: a line an attempt, its filters and its links."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from flask_smtp_admin.models import Message, Recipient, RecipientKind, Status
from flask_smtp_admin.web import log
from tests import rows
from tests.apps import engine_of
from tests.web.lists import Stored, addresses, open_to, store, text_of

LOG = "/smtp-admin/log/"


@pytest.fixture
def stored(app: Flask) -> Stored:
    open_to(app)
    return store(app)


def test_it_has_the_columns_and_a_line_an_attempt(stored: Stored, client: FlaskClient) -> None:
    page = client.get(LOG).text
    assert re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', page) == [
        "ID",
        "Active queue ID",
        "Email",
        "Subject",
        "Attempt date",
        "Status",
        "Reason",
    ]
    assert addresses(client, LOG) == [
        "gina@example.org",
        "hal@example.org",
        "ann@example.org",
        "ann@example.org",
    ]


def test_outcomes_are_in_words(stored: Stored, client: FlaskClient) -> None:
    page = text_of(client.get(LOG).text)
    assert "SUCCESS Accepted by mail.example.org: 250 2.0.0 queued" in page
    assert "IN PROGRESS Being sent by web-1:47." in page
    assert "FAIL Greylisted (451) at RCPT TO." in page


def test_the_active_queue_id_is_there_while_the_message_is(
    stored: Stored, client: FlaskClient
) -> None:
    page = client.get(LOG).text
    assert f"/queue/?q=id:{stored.deferred.id}" in page
    assert f"/queue/?q=id:{stored.sending.id}" in page
    assert f"/queue/?q=id:{stored.sent.id}" not in page
    assert f"/messages/{stored.sent.id}#attempt-3" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tab=success", ["hal@example.org"]),
        ("tab=progress", ["gina@example.org"]),
        ("q=status:fail to:ann", ["ann@example.org"] * 2),
        ("q=code:451 after:10min", ["ann@example.org"]),
        ("q=code:250", ["hal@example.org"]),
        ("q=id:1", ["ann@example.org"] * 2),
        ("q=invoice", ["ann@example.org"] * 2),
    ],
)
def test_it_is_filtered(stored: Stored, client: FlaskClient, query: str, found: list[str]) -> None:
    assert addresses(client, f"{LOG}?{query}") == found


def test_an_attempt_outlives_its_message(stored: Stored, client: FlaskClient) -> None:
    with engine_of(stored.app).begin() as connection:
        connection.execute(sa.delete(Message).where(Message.id == stored.sent.id))
    assert addresses(client, f"{LOG}?tab=success") == ["hal@example.org"]
    assert f"/messages/{stored.sent.id}" not in client.get(LOG).text


def test_tabs_count(stored: Stored, client: FlaskClient) -> None:
    assert "All 4 Failed 2 Succeeded 1 In progress 1" in text_of(client.get(LOG).text)


def test_what_is_in_progress_has_no_number_yet(stored: Stored, client: FlaskClient) -> None:
    page = client.get(LOG).text
    [line] = re.findall(rf'(?s)<tr id="flight-{stored.sending.id}">.*?</tr>', page)
    first, *others = re.findall(r"(?s)<td.*?</td>", line)
    assert ">\N{EN DASH}<" in first
    assert 'title="It gets its number when it has ended"' in first
    assert f"/messages/{stored.sending.id}#flight-{stored.sending.id}" in line
    assert (
        f'id="flight-{stored.sending.id}"'
        in client.get(f"/smtp-admin/messages/{stored.sending.id}").text
    )
    assert len(others) == 6


GINA = ["gina@example.org"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", GINA),
        ("tab=progress", GINA),
        ("tab=fail", []),
        ("tab=success", []),
        ("q=status:in-progress", GINA),
        ("q=status:in-progress status:success", GINA),
        ("q=status:success", []),
        ("q=to:gin", GINA),
        ("q=to:*ina@example.org", GINA),
        ("q=to:second", GINA),
        ("q=gina@example.org", GINA),
        ("q=to:ann", []),
        ("q=from:shop@", GINA),
        ("q=from:office@", []),
        ("q=subject:your", GINA),
        ("q=order", GINA),
        ("q=subject:order", []),
        ("q=connection:Main", GINA),
        ("q=connection:Bulk", []),
        ("q=after:1h", GINA),
        ("q=before:1h", []),
        ("q=id:5", GINA),
        ("q=id:6", []),
        ("q=code:4xx", []),
        ("q=reason:being", []),
        ("connection=1", GINA),
        ("connection=2", []),
        ("q=to:gina nobody:knows", []),
        ("before=9999", []),
        ("after=0", GINA),
    ],
)
def test_what_is_in_progress_is_searched(
    stored: Stored, client: FlaskClient, query: str, found: list[str]
) -> None:
    assert stored.sending.id == 5
    second = Recipient(
        message_id=5,
        address="Second@example.org",
        address_key="second@example.org",
        kind=RecipientKind.CC,
    )
    rows.add(engine_of(stored.app), second)
    assert [one for one in addresses(client, f"{LOG}?{query}") if one in GINA] == found


@pytest.mark.parametrize(
    ("query", "counts"),
    [
        ("", "All 4 Failed 2 Succeeded 1 In progress 1"),
        ("tab=progress", "All 4 Failed 2 Succeeded 1 In progress 1"),
        ("tab=fail", "All 4 Failed 2 Succeeded 1 In progress 1"),
        ("q=to:gina", "All 1 Failed Succeeded In progress 1"),
        ("q=to:ann", "All 2 Failed 2 Succeeded In progress "),
        ("q=nobody", "All 0 Failed Succeeded In progress "),
    ],
)
def test_tabs_count_what_is_in_progress(
    stored: Stored, client: FlaskClient, query: str, counts: str
) -> None:
    page = text_of(client.get(f"{LOG}?{query}").text)
    assert counts in page


def test_a_mark_without_a_message_under_way_is_not_shown(
    stored: Stored, client: FlaskClient
) -> None:
    nobodys = rows.a_flight(stored.sending)
    nobodys.message_id = 999
    rows.add(engine_of(stored.app), nobodys, rows.a_flight(stored.held))
    assert addresses(client, f"{LOG}?tab=progress") == GINA
    assert "In progress 1" in text_of(client.get(LOG).text)
    assert "IN PROGRESS" not in client.get(f"/smtp-admin/messages/{stored.held.id}").text


def test_there_are_so_many_lines_in_progress_and_no_more(
    stored: Stored, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MOST_FLIGHTS", 2)
    going = [rows.a_message("ida@example.org", status=Status.SENDING) for _ in range(3)]
    rows.add(engine_of(stored.app), *going)
    rows.add(engine_of(stored.app), *[rows.a_flight(message) for message in going])
    assert len(addresses(client, f"{LOG}?tab=progress")) == 2
    assert "All 5+ Failed 2 Succeeded 1 In progress 2+" in text_of(client.get(LOG).text)


def test_an_empty_log_says_what_will_be_here(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    assert "Nothing has been sent yet" in client.get(LOG).text


def test_it_is_closed_like_every_page(app: Flask, client: FlaskClient) -> None:
    assert client.get(LOG).status_code == 403
