"""The pages of what goes wrong."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_smtp_admin import database
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import Connection
from tests.apps import MakeApp, engine_of
from tests.web.visits import PREFIX, a_connection, let_in, state_of, text

LIST = f"{PREFIX}/connections/"


@pytest.mark.parametrize("path", ["/nowhere", "/connections/99/", "/connections/99/test", "/a/b/c"])
def test_an_unknown_address_is_a_page_of_ours(app: Flask, path: str) -> None:
    answer = let_in(app).get(PREFIX + path)
    assert answer.status_code == 404
    assert "Nothing is here" in text(answer.text)
    assert "All times are in UTC" in text(answer.text)


def test_a_missing_slash_leads_to_the_page(app: Flask) -> None:
    answer = let_in(app).get(f"{PREFIX}/connections", follow_redirects=True)
    assert answer.status_code == 200


def test_refused_says_little(app: Flask) -> None:
    page = app.test_client().get(LIST).text
    assert "You may not do this" in text(page)
    assert "authorize" not in page
    assert "Queue" not in text(page)


def test_in_debug_mode_the_developer_reads_what_to_write(app: Flask) -> None:
    app.debug = True
    page = text(app.test_client().get(LIST).text)
    assert "@smtp_admin.authorize def may(action: str) -> bool:" in page
    assert "has no authorize function" in page
    state_of(app).authorize = lambda action: None
    page = text(app.test_client().get(f"{LIST}new").text)
    assert 'did not return exactly True for "configure"' in page


def test_a_missing_secret_key_is_named(make_app: MakeApp) -> None:
    app = make_app(SECRET_KEY=None)
    state_of(app).authorize = lambda action: True
    answer = app.test_client().get(f"{LIST}new")
    assert answer.status_code == 500
    assert "no SECRET_KEY" in text(answer.text)
    assert "secrets.token_hex()" in text(answer.text)
    post = app.test_client().post(f"{LIST}new", data={})
    assert "no SECRET_KEY" in text(post.text)


def test_a_database_that_is_away(app: Flask) -> None:
    client = let_in(app)
    a_connection(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {Connection.__tablename__}"))
    answer = client.get(LIST)
    assert answer.status_code == 503
    assert "no tables in this database" in text(answer.text)
    assert "Nothing that was queued is lost" in text(answer.text)


def test_a_database_that_is_away_is_said_to_be_so_once(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        lost = sa.exc.OperationalError("SELECT 1", {}, Exception("disk I/O error"))
        raise OutboxUnavailable(database.explain(lost))

    monkeypatch.setattr("flask_smtp_admin.metrics.take", away)
    page = text(let_in(app).get(f"{PREFIX}/").text)
    assert page.count("The outbox database cannot be used") == 1
    assert "Check that it runs, that its address is right" in page


def test_a_lost_key_is_explained_and_nothing_is_overwritten(app: Flask, make_app: MakeApp) -> None:
    number = a_connection(app)
    url = str(engine_of(app).url)
    other = make_app(SECRET_KEY="f" * 32, SMTP_ADMIN_DATABASE_URI=url)
    client = let_in(other)
    assert "Its stored password cannot be read" in text(client.get(LIST).text)
    page = text(client.get(f"{LIST}{number}/").text)
    assert "The stored password cannot be read." in page
    assert "SECRET_KEY_FALLBACKS" in page
    tried = client.post(f"{LIST}{number}/test", data={"mode": "stop"})
    assert tried.status_code == 422
    assert "SECRET_KEY_FALLBACKS" in text(tried.text)
    with engine_of(app).connect() as connection:
        assert connection.scalar(sa.select(Connection.password_token)) is not None
