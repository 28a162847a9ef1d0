"""The configuration: read once, checked, and explained when it is wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from flask import Flask

from flask_smtp_admin import SMTPAdmin
from flask_smtp_admin.config import PREFIX, Config
from flask_smtp_admin.errors import ConfigurationError


def test_the_defaults_need_no_key_at_all() -> None:
    config = Config.from_mapping({})
    assert config == Config()
    assert config.redis_url is None
    assert config.dispatch == "auto"
    assert config.queue_name == "smtp-admin"
    assert config.max_message_bytes == 25 * 1024 * 1024
    assert config.automated_delay == 10
    assert config.capture_flask_mail is True
    assert config.zone.key == "UTC"


def test_keys_of_others_are_none_of_our_business() -> None:
    assert (
        Config.from_mapping({"SECRET_KEY": "x", "MAIL_SERVER": "y", "SMTP_ADMINS": 1}) == Config()
    )


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_every_key_is_documented_and_its_default_is_accepted(field: Any) -> None:
    assert field.metadata["meaning"].endswith(".")
    key = PREFIX + field.name.upper()
    assert Config.from_mapping({key: field.default}) == Config()


def test_an_unknown_key_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean SMTP_ADMIN_REDIS_URL\?"):
        Config.from_mapping({"SMTP_ADMIN_REDIS_URI": "redis://localhost"})


def test_an_unknown_key_that_resembles_none_lists_them_all() -> None:
    with pytest.raises(ConfigurationError, match="Known keys: SMTP_ADMIN_REDIS_URL, "):
        Config.from_mapping({"SMTP_ADMIN_FLURBLEGNOSTICATION": 1})


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("DISPATCH", "celery", "one of auto, rq, embedded, inline, none"),
        ("DISPATCH", "rq", "SMTP_ADMIN_REDIS_URL is not set"),
        ("SESSIONS", 0, "from 1 to 200"),
        ("SESSIONS", "many", "a whole number"),
        ("SESSIONS", True, "a whole number"),
        ("SESSIONS", 2.0, "a whole number"),
        ("MAX_MESSAGE_BYTES", 1, "at least 1024"),
        ("TIMEZONE", "Mars/Olympus", "'Europe/Berlin'"),
        ("TIMEZONE", "../../etc/passwd", "no time zone"),
        ("CAPTURE_FLASK_MAIL", "perhaps", "True or False"),
        ("QUEUE_NAME", None, "a text"),
        ("KEYS", [1, 2], "a list of texts"),
        ("KEYS", ["good", ""], "that are not empty"),
        ("ACCOUNT_POLICY", "strict", "one of any, email"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_it_may_be(
    key: str, value: Any, sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config.from_mapping({PREFIX + key: value})
    assert PREFIX + key in str(caught.value)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hidden@localhost:abc/0",
        "redis://:hidden@localhost:99999/0",
        "redis://:hidden@127.0.0.1/0?foo=bar",
        "redis://:hidden@127.0.0.1/0?socket_timeout=soon",
        "rediss://:hidden@[::1/0",
        "unix:///run/hidden.sock?db=first",
    ],
)
def test_an_address_that_redis_does_not_take_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SMTP_ADMIN_REDIS_URL") as caught:
        Config.from_mapping({"SMTP_ADMIN_REDIS_URL": url})
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:secret@localhost:6380/3?socket_timeout=2&health_check_interval=30",
        "rediss://localhost/0?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_an_address_that_redis_takes_is_accepted(url: str) -> None:
    assert Config.from_mapping({"SMTP_ADMIN_REDIS_URL": url}).redis_url == url


def test_two_places_for_the_outbox_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        Config.from_mapping({"SMTP_ADMIN_DATABASE_URI": "sqlite://", "SMTP_ADMIN_BIND_KEY": "x"})


def test_the_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, text in {
        "REDIS_URL": "redis://localhost:6379/0",
        "SESSIONS": "8",
        "CAPTURE_FLASK_MAIL": "false",
        "ALLOW_PRIVATE_HOSTS": "no",
        "KEYS": '["new", "old"]',
        "PROBE_TOKEN": "20261122",
        "SITE_NAME": "Shop",
    }.items():
        monkeypatch.setenv(f"FLASK_SMTP_ADMIN_{key}", text)
    app = Flask("host")
    app.config.from_prefixed_env()
    config = Config.from_mapping(app.config)
    assert config.redis_url == "redis://localhost:6379/0"
    assert config.sessions == 8
    assert config.capture_flask_mail is False
    assert config.allow_private_hosts is False
    assert config.keys == ("new", "old")
    assert config.probe_token == "20261122"
    assert config.site_name == "Shop"


@pytest.mark.parametrize("keys", ["new, old", ["new", "old"], ("new", "old")])
def test_keys_may_be_written_in_three_ways(keys: Any) -> None:
    assert Config.from_mapping({"SMTP_ADMIN_KEYS": keys}).keys == ("new", "old")


def test_secrets_are_not_shown() -> None:
    config = Config.from_mapping(
        {
            "SMTP_ADMIN_KEYS": ["hidden1"],
            "SMTP_ADMIN_PROBE_TOKEN": "hidden2",
            "SMTP_ADMIN_DATABASE_URI": "postgresql://me:hidden3@host/db",
            "SMTP_ADMIN_REDIS_URL": "redis://:hidden4@host/0",
        }
    )
    assert "hidden" not in repr(config)
    with pytest.raises(ConfigurationError) as caught:
        Config.from_mapping({"SMTP_ADMIN_PROBE_TOKEN": ["hidden"]})
    assert "hidden" not in str(caught.value)


def test_the_configuration_is_read_once(make_app: Any) -> None:
    app = make_app(SMTP_ADMIN_SESSIONS=3)
    app.config["SMTP_ADMIN_SESSIONS"] = 7
    assert app.extensions["smtp_admin"].core.config.sessions == 3


def test_a_wrong_key_stops_the_start_and_leaves_the_application_unchanged() -> None:
    app = Flask("host")
    app.config["SMTP_ADMIN_SESSION"] = 3
    with pytest.raises(ConfigurationError, match="SMTP_ADMIN_SESSIONS"):
        SMTPAdmin(app)
    assert "smtp_admin" not in app.extensions
    del app.config["SMTP_ADMIN_SESSION"]
    SMTPAdmin(app)
