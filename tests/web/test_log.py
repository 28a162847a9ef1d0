"""Tests of the log: a line an attempt, its filters and its links."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

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
        "hal@example.org",
        "gina@example.org",
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
    assert f"/queue/?q=id:{stored.sent.id}" not in page
    assert f"/messages/{stored.sent.id}#attempt-4" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tab=success", ["hal@example.org"]),
        ("tab=progress", ["gina@example.org"]),
        ("q=status:fail to:ann", ["ann@example.org"] * 2),
        ("q=code:451 after:10min", ["ann@example.org"]),
        ("q=id:1", ["ann@example.org"] * 2),
        ("q=invoice", ["ann@example.org"] * 2),
    ],
)
def test_it_is_filtered(stored: Stored, client: FlaskClient, query: str, found: list[str]) -> None:
    assert addresses(client, f"{LOG}?{query}") == found


def test_tabs_count(stored: Stored, client: FlaskClient) -> None:
    assert "All 4 Failed 2 Succeeded 1 In progress 1" in text_of(client.get(LOG).text)


def test_an_empty_log_says_what_will_be_here(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    assert "Nothing has been sent yet" in client.get(LOG).text


def test_it_is_closed_like_every_page(app: Flask, client: FlaskClient) -> None:
    assert client.get(LOG).status_code == 403
