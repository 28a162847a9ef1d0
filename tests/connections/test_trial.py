"""Trying a connection against real servers, and what that says of its health."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import connections
from flask_smtp_admin.core import Core
from flask_smtp_admin.errors import SecretMissing, SecretUnreadable, SMTPAdminError
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth
from flask_smtp_admin.smtp import ProbeReport
from tests.cores import Heard, a_core
from tests.servers.catchall import CatchAll
from tests.servers.exim import EximServer


def stored(core: Core, **fields: Any) -> Connection:
    number = connections.create(
        core,
        {
            "caption": "Tried",
            "sender_name": "Shop",
            "sender_address": "shop@example.test",
            **fields,
        },
    )
    with core.database.session() as session:
        found = session.get(Connection, number)
    assert found is not None
    return found


def tried(core: Core, connection: Connection, to: str = "") -> ProbeReport:
    return connections.run(connection, connections.trial_endpoint(connection, core), core, to=to)


def test_stop_before_sending(core: Core, catchall: CatchAll) -> None:
    connection = stored(core, host=catchall.host, port=catchall.port, encryption="none")
    report = tried(core, connection)
    assert report.ok
    assert not report.delivered
    assert catchall.messages == []


def test_a_real_message(core: Core, catchall: CatchAll) -> None:
    connection = stored(core, host=catchall.host, port=catchall.port, encryption="none")
    report = tried(core, connection, "ann@example.test")
    assert report.delivered
    [caught] = catchall.messages
    assert caught.recipients == ("ann@example.test",)
    assert b"Auto-Submitted: auto-generated" in caught.content
    assert b"Subject: Test message" in caught.content


def test_a_test_message_names_the_application_s_address(tmp_path: Path, catchall: CatchAll) -> None:
    url = f"sqlite:///{tmp_path / 'outbox.sqlite3'}"
    with a_core(url, base_url="https://shop.example.test", site_name="Shop") as (core, _heard):
        connection = stored(core, host=catchall.host, port=catchall.port, encryption="none")
        assert tried(core, connection, "ann@example.test").delivered
    text = message_from_bytes(catchall.messages[0].content).get_payload(decode=True)
    assert b"from Shop, sent from https://shop.example.test." in text


def test_exim_over_tls_with_a_login(core: Core, exim: EximServer) -> None:
    connection = stored(
        core,
        host="localhost",
        port=exim.tls_port,
        encryption="implicit",
        username=exim.username,
        password=exim.password,
        ca_certificate=exim.ca_pem,
    )
    report = tried(core, connection)
    assert report.ok, report
    assert report.tls is not None
    assert exim.password not in repr(report)


def test_a_wrong_password_is_named(core: Core, exim: EximServer) -> None:
    connection = stored(
        core,
        host="localhost",
        port=exim.port,
        username=exim.username,
        password="wrong",
        ca_certificate=exim.ca_pem,
    )
    report = tried(core, connection)
    assert report.failed is not None
    assert report.failed.stage.value == "auth"
    assert report.failed.advice


def test_a_trial_is_less_patient_than_a_worker(core: Core) -> None:
    connection = stored(core, host="h.example.test", connect_timeout=300, final_timeout=3600)
    endpoint = connections.trial_endpoint(connection, core)
    assert endpoint.connect_timeout <= 10
    assert endpoint.final_timeout <= 15
    assert endpoint.session_deadline <= 60


def test_an_unreadable_password(sqlite_url: str) -> None:
    with a_core(sqlite_url) as (core, _):
        connection = stored(core, host="h.example.test", username="u", password="p")
    with (
        a_core(sqlite_url, keys=("another",)) as (core, _),
        pytest.raises(SecretUnreadable, match="former key"),
    ):
        connections.trial_endpoint(connection, core)


def test_a_login_without_a_password_is_not_tried(core: Core) -> None:
    connection = stored(core, host="h.example.test", username="u", password="p")
    connections.update(core, connection.id, {"clear_password": True})
    with core.database.session() as session:
        cleared = session.get_one(Connection, connection.id)
    with pytest.raises(SecretMissing, match="No password is stored"):
        connections.trial_endpoint(cleared, core)
    with pytest.raises(SMTPAdminError):
        connections.endpoint_of(cleared, core)
    cleared.use_auth = False
    assert connections.endpoint_of(cleared, core).password == ""


def test_success_closes_the_breaker(core: Core, heard: Heard, catchall: CatchAll) -> None:
    connection = stored(core, host=catchall.host, port=catchall.port, encryption="none")
    with core.database.write() as written:
        written.execute(
            sa.update(ConnectionHealth).values(
                breaker=BreakerState.OPEN, failures=9, retry_at=core.now(), failing_since=core.now()
            )
        )
    connections.record(core, connection, tried(core, connection))
    with core.database.session() as session:
        health = session.get_one(ConnectionHealth, connection.id)
    assert health.breaker is BreakerState.CLOSED
    assert health.last_ok_at is not None
    assert [event.code for event in heard.events] == ["connection_recovered"]


@pytest.mark.parametrize(("failures", "told"), [(0, []), (9, ["connection_recovered"])])
def test_the_end_of_a_pause_is_news_when_the_server_asked_for_it(
    core: Core, heard: Heard, catchall: CatchAll, failures: int, told: list[str]
) -> None:
    connection = stored(core, host=catchall.host, port=catchall.port, encryption="none")
    with core.database.write() as written:
        paused = {"breaker": BreakerState.PAUSED, "failures": failures, "retry_at": core.now()}
        written.execute(sa.update(ConnectionHealth).values(paused))
    connections.record(core, connection, tried(core, connection))
    assert [event.code for event in heard.events] == told


def test_failure_is_noted_and_pauses_nothing(core: Core, heard: Heard, catchall: CatchAll) -> None:
    connection = stored(core, host=catchall.host, port=catchall.port, encryption="none")
    catchall.stop()
    connections.record(core, connection, tried(core, connection))
    with core.database.session() as session:
        health = session.get_one(ConnectionHealth, connection.id)
    assert health.breaker is BreakerState.CLOSED
    assert health.last_stage == "connect"
    assert health.last_reason
    assert heard.events == []
