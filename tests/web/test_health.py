"""Tests of the health report: its codes, its token, its fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_smtp_admin import SMTPAdmin
from tests.apps import MakeApp, bare_app, engine_of
from tests.web.lists import open_to, store

HEALTH = "/smtp-admin/health"


def test_it_is_json_and_200_while_all_is_well(app: Flask) -> None:
    open_to(app)
    store(app)
    answer = app.test_client().get(HEALTH)
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["healthy"] is True
    assert (answer.json["due"], answer.json["waiting"], answer.json["held"]) == (1, 1, 1)
    assert (answer.json["sent_today"], answer.json["failed_today"]) == (1, 1)
    assert answer.json["oldest_due_seconds"] == 0
    assert [one["hostname"] for one in answer.json["workers"]] == ["web-1"]
    assert [one["state"] for one in answer.json["connections"]] == ["ok", "untried"]
    assert answer.json["problems"] == []


def test_it_is_503_with_the_problems_while_mail_is_kept_back(app: Flask) -> None:
    open_to(app)
    store(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.text("UPDATE smtp_admin_connection_health SET breaker = 'open'"))
    answer = app.test_client().get(HEALTH)
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["healthy"] is False
    assert {one["code"] for one in answer.json["problems"]} == {"connection_failing"}


def test_a_database_that_is_away_is_503_in_json(app: Flask) -> None:
    open_to(app)
    with engine_of(app).begin() as connection:
        connection.execute(sa.text("DROP TABLE smtp_admin_worker"))
    answer = app.test_client().get(HEALTH)
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["problems"][0]["code"] == "database"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"SMTP_ADMIN_DATABASE_URI": "nonsense"}, "SMTP_ADMIN_DATABASE_URI is not an address"),
        ({"SMTP_ADMIN_DATABASE_URI": "postgresql+pg8000://h/d"}, "is not installed"),
        ({"SMTP_ADMIN_BIND_KEY": "mail"}, "remove the key"),
    ],
)
@pytest.mark.parametrize("dispatch", ["auto", "none"])
def test_a_wrong_setting_is_503_in_json_and_1_on_the_command_line(
    tmp_path: Path, setting: dict[str, str], sentence: str, dispatch: str
) -> None:
    app = bare_app(tmp_path, SMTP_ADMIN_PROBE_TOKEN="token", SMTP_ADMIN_DISPATCH=dispatch)
    app.config.update(setting)
    SMTPAdmin(app)
    answer = app.test_client().get(HEALTH, headers={"Authorization": "Bearer token"})
    assert answer.status_code == 503
    assert answer.json is not None
    assert sentence in answer.json["summary"]
    assert [one["code"] for one in answer.json["problems"]] == ["configuration"]
    result = app.test_cli_runner().invoke(args=["smtp-admin", "status", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == answer.json


def test_it_opens_to_its_token_only(make_app: MakeApp) -> None:
    app = make_app(SMTP_ADMIN_PROBE_TOKEN="a-long-token")
    client = app.test_client()

    def code(header: str | None) -> int:
        return client.get(HEALTH, headers={"Authorization": header} if header else {}).status_code

    assert code("Bearer a-long-token") == 200
    for wrong in (None, "Bearer a-long-toke", "Bearer ", "Basic a-long-token", "Bearer é"):
        assert code(wrong) == 403


def test_without_a_token_set_none_opens_it(app: Flask) -> None:
    answer = app.test_client().get(HEALTH, headers={"Authorization": "Bearer None"})
    assert answer.status_code == 403
    open_to(app, "view")
    assert app.test_client().get(HEALTH).status_code == 200
