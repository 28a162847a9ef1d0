"""Test SMTP: of a stored connection, and of what is typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from flask_smtp_admin import connections
from flask_smtp_admin.models import Connection, ConnectionHealth
from flask_smtp_admin.web.throttle import Throttle
from tests.apps import core_of, rows_of
from tests.servers.catchall import CatchAll
from tests.servers.exim import EximServer
from tests.web.visits import FIELDS, PREFIX, a_connection, let_in, text, value

LIST = f"{PREFIX}/connections/"
STREAM = {"Accept": "application/x-ndjson"}


def plain(server: CatchAll, **changes: Any) -> dict[str, Any]:
    """What a browser sends for a server that wants no login."""
    fields = {k: v for k, v in FIELDS.items() if k not in ("use_auth", "password")}
    return {
        **fields,
        "host": server.host,
        "port": str(server.port),
        "encryption": "none",
        "password": "",
        "confirm_password": "",
        **changes,
    }


def stored(app: Flask, server: CatchAll) -> int:
    return a_connection(
        app, host=server.host, port=server.port, encryption="none", use_auth=False, password=""
    )


def test_a_stored_connection_without_sending(app: Flask, catchall: CatchAll) -> None:
    number = stored(app, catchall)
    client = let_in(app)
    assert "Stop before sending" in text(client.get(f"{LIST}{number}/test").text)
    page = client.post(f"{LIST}{number}/test", data={"mode": "stop"}).text
    shown = text(page)
    for stage in ("Look up the name", "Connect", "Greeting", "EHLO", "MAIL FROM", "RCPT TO"):
        assert f"Passed: {stage}" in shown or stage in shown
    assert "All is well" in shown
    assert "Nothing was sent: the test hung up here." in shown
    assert "127.0.0.1 is an address already" in shown
    assert " ms" in shown
    assert catchall.messages == []
    assert rows_of(app, ConnectionHealth)[0]["last_ok_at"] is not None


def test_a_test_message(app: Flask, catchall: CatchAll) -> None:
    number = stored(app, catchall)
    send = {"mode": "send", "test_recipient": "ann@example.test"}
    page = let_in(app).post(f"{LIST}{number}/test", data=send).text
    assert "accepted the test message for ann@example.test" in text(page)
    assert [caught.recipients for caught in catchall.messages] == [("ann@example.test",)]


def test_a_test_message_needs_an_address(app: Flask, catchall: CatchAll) -> None:
    number = stored(app, catchall)
    send = {"mode": "send", "test_recipient": "nobody"}
    answer = let_in(app).post(f"{LIST}{number}/test", data=send)
    assert answer.status_code == 422
    assert "Please enter the address that the test message goes to." in text(answer.text)
    assert value(answer.text, "test_recipient") == "nobody"


def test_a_failure_names_the_stage_and_what_to_do(app: Flask, catchall: CatchAll) -> None:
    number = stored(app, catchall)
    catchall.stop()
    shown = text(let_in(app).post(f"{LIST}{number}/test", data={"mode": "stop"}).text)
    assert "Failed: Connect" in shown
    assert "What to do" in shown
    assert "Not reached." in shown


def test_unsaved_values(app: Flask, catchall: CatchAll) -> None:
    page = let_in(app).post(f"{LIST}new/test", data=plain(catchall, caption="Kept")).text
    assert "All is well" in text(page)
    assert value(page, "caption") == "Kept"
    assert rows_of(app, Connection) == []


def test_unsaved_values_need_no_caption(app: Flask, catchall: CatchAll) -> None:
    answer = let_in(app).post(
        f"{LIST}new/test", data=plain(catchall, caption="", sender_name="", limit_per_day="x")
    )
    assert answer.status_code == 200
    assert "All is well" in text(answer.text)


def test_unsaved_values_that_are_wrong(app: Flask, catchall: CatchAll) -> None:
    answer = let_in(app).post(f"{LIST}new/test", data=plain(catchall, port="70000"))
    assert answer.status_code == 422
    assert "Please enter an SMTP port between 1 and 49151." in text(answer.text)


def exim_fields(exim: EximServer, **changes: Any) -> dict[str, Any]:
    return {
        **FIELDS,
        "host": "localhost",
        "port": str(exim.port),
        "encryption": "starttls",
        "username": exim.username,
        "password": "",
        "confirm_password": "",
        "sender_address": "shop@example.test",
        "ca_certificate": exim.ca_pem,
        **changes,
    }


def a_login(app: Flask, exim: EximServer) -> int:
    return a_connection(
        app,
        host="localhost",
        port=exim.port,
        username=exim.username,
        password=exim.password,
        sender_address="shop@example.test",
        ca_certificate=exim.ca_pem,
    )


def test_the_stored_password_is_used_where_it_belongs(app: Flask, exim: EximServer) -> None:
    number = a_login(app, exim)
    page = let_in(app).post(f"{LIST}{number}/form/test", data=exim_fields(exim)).text
    assert "All is well" in text(page), text(page)
    assert "Login (AUTH)" in text(page)
    assert exim.password not in page


@pytest.mark.parametrize("confirmed", ["", "guess"])
def test_the_stored_password_is_not_sent_anywhere_else(
    app: Flask, exim: EximServer, catchall: CatchAll, confirmed: str
) -> None:
    number = a_login(app, exim)
    elsewhere = exim_fields(
        exim,
        host=catchall.host,
        port=str(catchall.port),
        encryption="none",
        allow_plain_auth="1",
        confirm_password=confirmed,
    )
    answer = let_in(app).post(f"{LIST}{number}/form/test", data=elsewhere)
    assert answer.status_code == 422
    assert "enter the password again" in text(answer.text)
    assert catchall.sessions == 0


@pytest.mark.parametrize(
    "change",
    [{"ca_certificate": ""}, {"auth_mechanism": "PLAIN"}, {"allow_plain_auth": "1"}],
    ids=lambda change: next(iter(change)),
)
def test_the_stored_password_is_not_sent_in_another_way(
    app: Flask, exim: EximServer, change: dict[str, str]
) -> None:
    number = a_login(app, exim)
    answer = let_in(app).post(f"{LIST}{number}/form/test", data=exim_fields(exim, **change))
    assert answer.status_code == 422
    assert "enter the password again" in text(answer.text)


def test_a_login_without_a_password_is_not_tried(app: Flask, catchall: CatchAll) -> None:
    number = a_connection(app, host=catchall.host, port=catchall.port, encryption="none")
    client = let_in(app)
    page = client.post(f"{LIST}{number}/form/test", data={"clear_password": "1", "use_auth": "1"})
    assert page.status_code == 422
    assert "No password is stored for this connection" in text(page.text)
    with app.app_context():
        connections.update(core_of(app), number, {"clear_password": True})
    for url in (f"{LIST}{number}/form/test", f"{LIST}{number}/test"):
        page = client.post(url, data={"use_auth": "1", "mode": "stop"})
        assert page.status_code == 422
        assert "No password is stored for this connection" in text(page.text)
    assert catchall.sessions == 0


def test_a_driver_that_there_is_not_is_not_tried_as_smtp(app: Flask, exim: EximServer) -> None:
    number = a_login(app, exim)
    answer = let_in(app).post(f"{LIST}{number}/form/test", data=exim_fields(exim, driver="owl"))
    assert answer.status_code == 422
    assert "Please choose one of" in text(answer.text)


def test_a_wrong_password(app: Flask, exim: EximServer) -> None:
    number = a_login(app, exim)
    typed = exim_fields(exim, password="wrong-one", confirm_password="wrong-one")
    page = let_in(app).post(f"{LIST}{number}/form/test", data=typed).text
    assert "Failed: Login (AUTH)" in text(page)
    assert "The server said:" in text(page)
    assert "wrong-one" not in page


# ---------------------------------------------------------------- as a stream


def test_the_stages_come_one_after_the_other(app: Flask, catchall: CatchAll) -> None:
    answer = let_in(app).post(f"{LIST}new/test", data=plain(catchall), headers=STREAM)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.mimetype == "application/x-ndjson"
    assert all("step" in line for line in lines[:-1])
    assert len(lines) > 6
    assert "All is well" in lines[-1]["report"]


def test_errors_go_to_their_fields(app: Flask, catchall: CatchAll) -> None:
    answer = let_in(app).post(
        f"{LIST}new/test", data=plain(catchall, port="no", test_recipient="no"), headers=STREAM
    )
    found = json.loads(answer.text)["errors"]
    assert sorted(found) == ["field-port", "field-test_recipient"]


def test_a_missing_recipient_goes_to_its_field(app: Flask, catchall: CatchAll) -> None:
    number = stored(app, catchall)
    answer = let_in(app).post(f"{LIST}{number}/test", data={"mode": "send"}, headers=STREAM)
    assert answer.status_code == 422
    assert list(json.loads(answer.text)["errors"]) == ["field-test_recipient"]


def test_a_fault_of_ours_ends_the_stream(
    app: Flask,
    catchall: CatchAll,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("flask_smtp_admin.connections.trial.probe", broken)
    monkeypatch.setattr("flask_smtp_admin.connections.run", broken)
    answer = let_in(app).post(f"{LIST}new/test", data=plain(catchall), headers=STREAM)
    assert "broke off" in json.loads(answer.text)["notice"]
    assert "a fault" in caplog.text


# ---------------------------------------------------------------- not too often


def test_tests_are_limited(app: Flask, catchall: CatchAll) -> None:
    number = stored(app, catchall)
    client = let_in(app)
    statuses = [
        client.post(f"{LIST}{number}/test", data={"mode": "stop"}).status_code for _ in range(21)
    ]
    assert statuses == [200] * 20 + [429]
    refused = client.post(f"{LIST}new/test", data=plain(catchall))
    assert refused.status_code == 429
    assert "Those were 20 tests in 5 min." in text(refused.text)


def test_throttle() -> None:
    clock = [0.0]
    throttle = Throttle(2, 10, lambda: clock[0])
    assert [throttle.wait("a"), throttle.wait("a"), throttle.wait("b")] == [0, 0, 0]
    clock[0] = 4
    assert throttle.wait("a") == 6
    clock[0] = 11
    assert throttle.wait("a") == 0
