"""``flask smtp-admin connections`` and ``flask smtp-admin test``."""

from __future__ import annotations

from pathlib import Path

import trustme
from click.testing import Result
from flask import Flask

from flask_smtp_admin.cli.connections import OPTIONS
from flask_smtp_admin.connections import FIELDS
from flask_smtp_admin.connections.rules import DEFAULTS, OPTIONAL, RANGES
from flask_smtp_admin.models import Connection
from tests.apps import core_of, rows_of
from tests.servers.catchall import CatchAll
from tests.web.visits import a_connection

ADD = [
    *("connections", "add", "--caption", "Main", "--host", "smtp.example.org"),
    *("--sender-name", "Shop", "--sender-address", "shop@example.org"),
]


def run(app: Flask, *words: str, typed: str = "") -> Result:
    return app.test_cli_runner().invoke(args=["smtp-admin", *words], input=typed)


def test_add_asks_for_the_password(app: Flask) -> None:
    result = run(app, *ADD, "--username", "shop", typed="s3cret\ns3cret\n")
    assert result.exit_code == 0, result.output
    assert "Connection 1 is stored." in result.output
    assert "s3cret" not in result.output
    with core_of(app).database.session() as session:
        stored = session.get_one(Connection, 1)
    assert stored.password(core_of(app).keys) == "s3cret"
    assert (stored.port, stored.use_auth) == (587, True)


def test_add_without_a_login(app: Flask) -> None:
    assert run(app, *ADD, "--encryption", "none").exit_code == 0
    assert rows_of(app, Connection)[0]["use_auth"] is False


def test_add_says_what_is_wrong(app: Flask) -> None:
    result = run(app, *ADD, "--port", "70000")
    assert result.exit_code == 1
    assert "port: Please enter an SMTP port between 1 and 49151." in result.output
    assert rows_of(app, Connection) == []


def test_add_takes_every_field_of_the_form(app: Flask, tmp_path: Path) -> None:
    assert run(app, *ADD, "--encryption", "none").exit_code == 0
    numbers = {
        "limit_per_minute": 5,
        "limit_per_hour": 50,
        "limit_per_day": 500,
        "max_sessions": 3,
        "messages_per_session": 7,
        "max_attempts": 4,
        "connect_timeout": 11,
        "reply_timeout": 12,
        "final_timeout": 13,
        "session_deadline": 14,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in numbers.items()]
    authority = tmp_path / "authority.pem"
    authority.write_bytes(trustme.CA().cert_pem.bytes())
    result = run(
        app,
        *(*ADD, "--caption", "Bulk", "--username", "shop", "--password", "s3cret", *options),
        *("--auth-mechanism", "cram-md5", "--allow-plain-auth", "--ca-file", str(authority)),
        *("--sender-pattern", "news@example.org", "--sender-pattern", "*@bulk.example.org"),
        *("--fallback", "main", "--driver", "smtp", "--disabled"),
    )
    assert result.exit_code == 0, result.output
    row = rows_of(app, Connection)[1]
    assert {name: row[name] for name in numbers} == numbers
    assert row["auth_mechanism"] == "CRAM-MD5"
    assert row["allow_plain_auth"]
    assert row["ca_certificate"] == authority.read_text().strip()
    assert row["sender_patterns"] == "news@example.org\n*@bulk.example.org"
    assert row["fallback_id"] == 1
    assert not row["enabled"]


def test_every_field_of_the_form_has_an_option(app: Flask) -> None:
    shown = run(app, "connections", "add", "--help").output
    of_another_name = {**OPTIONS, "use_auth": "username", "enabled": "disabled"}
    for name in FIELDS:
        assert f"--{of_another_name.get(name, name.replace('_', '-'))}" in shown


def test_the_help_of_add_says_what_is_the_default(app: Flask) -> None:
    shown = " ".join(run(app, "connections", "add", "--help").output.split())
    for name, (low, high, unit) in RANGES.items():
        start = f"--{name.replace('_', '-')} {'SECONDS' if unit else 'NUMBER'} "
        told = shown.partition(start)[2].partition(" --")[0]
        assert f", {low:,} to {high:,}. Default: " in told, name
        if name not in OPTIONAL:
            assert f"Default: {DEFAULTS[name]:,}." in told
    assert "Default: SMTP_ADMIN_MAX_ATTEMPTS, 9 where that is not set." in shown


def test_add_names_the_option_that_is_wrong(app: Flask, tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_bytes(b"\xff no certificate")
    result = run(
        app,
        *(*ADD, "--ca-file", str(text), "--sender-pattern", "nonsense", "--driver", "pigeon"),
        *("--limit-per-day", "many"),
    )
    assert result.exit_code == 1
    for start in (
        "ca-file: This is no",
        "sender-pattern: “nonsense”",
        "driver: ",
        "limit-per-day: ",
    ):
        assert start in result.output
    unknown = run(app, *ADD, "--fallback", "nobody")
    assert "There is no connection 'nobody'." in unknown.output
    assert rows_of(app, Connection) == []


def test_list(app: Flask) -> None:
    assert "No connection yet." in run(app, "connections", "list").output
    a_connection(app)
    listed = run(app, "connections", "list").output
    assert "Main: smtp.example.org:587, STARTTLS, shop, from Shop <shop@example.org>" in listed
    assert "Not used yet." in listed


def test_enable_and_disable(app: Flask) -> None:
    a_connection(app)
    refused = run(app, "connections", "disable", "Main")
    assert refused.exit_code == 1
    assert "only enabled connection" in refused.output
    a_connection(app, caption="Second")
    assert "“Second” is disabled." in run(app, "connections", "disable", "2").output
    assert "“Second” is enabled." in run(app, "connections", "enable", "second").output
    unknown = run(app, "connections", "enable", "nobody")
    assert unknown.exit_code == 1
    assert "“Main” and “Second”" in unknown.output


def test_test(app: Flask, catchall: CatchAll) -> None:
    assert "No connection is enabled." in run(app, "test").output
    a_connection(
        app, host=catchall.host, port=catchall.port, encryption="none", use_auth=False, password=""
    )
    good = run(app, "test")
    assert good.exit_code == 0, good.output
    assert "All is well" in good.output
    assert catchall.messages == []
    sent = run(app, "test", "Main", "--to", "ann@example.test")
    assert sent.exit_code == 0, sent.output
    assert len(catchall.messages) == 1
    catchall.stop()
    failed = run(app, "test", "1")
    assert failed.exit_code == 1
    assert "1." in failed.output
