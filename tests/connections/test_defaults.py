"""The first connection, from ``MAIL_*`` settings."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import connections
from flask_smtp_admin.connections import from_mail_settings
from flask_smtp_admin.core import Core
from flask_smtp_admin.models import Connection, Encryption
from tests.cores import a_core


def the_connection(core: Core) -> Connection:
    with core.database.session() as session:
        return session.scalars(sa.select(Connection)).one()


def test_without_a_server_there_is_nothing() -> None:
    assert from_mail_settings({}) is None
    assert from_mail_settings({"MAIL_SERVER": None, "MAIL_PORT": 25}) is None


@pytest.mark.parametrize(
    ("settings", "encryption", "port"),
    [
        ({}, Encryption.NONE, 25),
        ({"MAIL_USE_TLS": True, "MAIL_PORT": 587}, Encryption.STARTTLS, 587),
        ({"MAIL_USE_TLS": True}, Encryption.STARTTLS, 25),
        ({"MAIL_USE_SSL": True}, Encryption.IMPLICIT, 465),
        ({"MAIL_USE_SSL": "true", "MAIL_PORT": "4465"}, Encryption.IMPLICIT, "4465"),
        ({"MAIL_USE_TLS": "false", "MAIL_USE_SSL": "0"}, Encryption.NONE, 25),
    ],
)
def test_encryption_and_port(settings: dict[str, Any], encryption: Encryption, port: Any) -> None:
    fields = from_mail_settings({"MAIL_SERVER": "smtp.example.org", **settings})
    assert fields is not None
    assert (fields["encryption"], fields["port"]) == (encryption, port)


@pytest.mark.parametrize(
    ("sender", "name", "address"),
    [
        ("shop@example.org", "Site", "shop@example.org"),
        ("Shop <shop@example.org>", "Shop", "shop@example.org"),
        (("Shop", "shop@example.org"), "Shop", "shop@example.org"),
        (["Shop", "shop@example.org"], "Shop", "shop@example.org"),
        (None, "Site", "noreply@smtp.example.org"),
    ],
)
def test_sender(sender: Any, name: str, address: str) -> None:
    fields = from_mail_settings(
        {"MAIL_SERVER": "smtp.example.org", "MAIL_DEFAULT_SENDER": sender}, "Site"
    )
    assert fields is not None
    assert (fields["sender_name"], fields["sender_address"]) == (name, address)


def test_a_clear_password_is_allowed_on_this_machine_only() -> None:
    login = {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "p"}
    here = from_mail_settings({"MAIL_SERVER": "127.0.0.1", **login})
    there = from_mail_settings({"MAIL_SERVER": "smtp.example.org", **login})
    assert here is not None
    assert there is not None
    assert here["allow_plain_auth"] is True
    assert there["allow_plain_auth"] is False


SETTINGS = {
    "MAIL_SERVER": "smtp.example.org",
    "MAIL_PORT": 587,
    "MAIL_USE_TLS": True,
    "MAIL_USERNAME": "shop",
    "MAIL_PASSWORD": "s3cret",
    "MAIL_DEFAULT_SENDER": ("Shop", "shop@example.org"),
}


def test_the_first_connection_is_made_once(core: Core) -> None:
    first = connections.ensure_first(core, SETTINGS)
    assert first is not None
    assert connections.ensure_first(core, SETTINGS) is None
    made = the_connection(core)
    assert (made.host, made.port, made.username) == ("smtp.example.org", 587, "shop")
    assert made.password(core.keys) == "s3cret"
    assert made.enabled


def test_without_a_key_it_is_made_without_the_password(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with a_core(sqlite_url, keys=()) as (core, _), caplog.at_level(logging.WARNING):
        assert connections.ensure_first(core, SETTINGS) is not None
        assert the_connection(core).password_token is None
    assert "set SECRET_KEY" in caplog.text
    assert "s3cret" not in caplog.text


def test_settings_that_break_a_rule_make_no_connection(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    assert connections.ensure_first(core, {**SETTINGS, "MAIL_PORT": 70000}) is None
    assert "MAIL_PORT: Please enter an SMTP port between 1 and 49151" in caplog.text
    assert connections.ensure_first(core, {**SETTINGS, "MAIL_DEFAULT_SENDER": "Shop <x>"}) is None
    assert "MAIL_DEFAULT_SENDER: Please enter the address" in caplog.text
