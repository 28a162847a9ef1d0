"""Tests of ``flask smtp-admin status``."""

from __future__ import annotations

import json

import sqlalchemy as sa
from flask import Flask

from tests.apps import engine_of
from tests.web.lists import open_to, store


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["smtp-admin", "status", *arguments])
    return result.exit_code, result.output


def test_it_says_that_all_is_well(app: Flask) -> None:
    open_to(app)
    store(app)
    code, output = run(app)
    assert code == 0
    assert output.startswith(
        "All well: 1 message sent today, nothing that is due waits longer than 1 s; "
        "1 message waits for later.\n"
    )
    assert "Note     1 message was given up today." in output
    assert "Due now 1 (the oldest for 0 s), waiting for later 1, being sent 1, held 1" in output
    assert "Today: sent 1, failed 1" in output
    assert "Worker rq on web-1, process 47, seen just now" in output
    assert "Connection Main (mail.example.org:587): ok, 1 message due" in output


def test_it_exits_with_1_and_says_what_to_do(app: Flask) -> None:
    open_to(app)
    store(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.text("DELETE FROM smtp_admin_worker"))
        connection.execute(
            sa.text("UPDATE smtp_admin_message SET due_at = :at WHERE status = 'queued'"),
            {"at": "2026-11-22 08:50:00.000000"},
        )
    code, output = run(app)
    assert code == 1
    assert output.startswith(
        "PROBLEM  No worker has been seen yet; 2 messages are due. SMTP_ADMIN_DISPATCH is 'none' "
        "here, so this process delivers nothing. Start a worker: flask --app YOUR_APP smtp-admin "
        "worker\n"
    )
    assert "Workers: none alive" in output


def test_it_speaks_json(app: Flask) -> None:
    open_to(app)
    store(app)
    code, output = run(app, "--json")
    assert code == 0
    assert json.loads(output)["sent_today"] == 1


def test_a_database_that_is_away_is_unhealthy(app: Flask) -> None:
    open_to(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.text("DROP TABLE smtp_admin_worker"))
    code, output = run(app, "--json")
    assert code == 1
    assert json.loads(output)["healthy"] is False
    code, output = run(app)
    assert code == 1
    assert "no tables" in output
