"""The pages of the connections."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_smtp_admin.models import Connection, Encryption
from tests.apps import MakeApp, core_of, engine_of, rows_of
from tests.rows import a_message, add
from tests.web.visits import FIELDS, PREFIX, a_connection, let_in, text, value

LIST = f"{PREFIX}/connections/"


def get(app: Flask, number: int) -> Connection:
    with core_of(app).database.session() as session:
        found = session.get(Connection, number)
    assert found is not None
    return found


# ---------------------------------------------------------------- the list


def test_an_empty_list_says_what_to_do(app: Flask) -> None:
    page = let_in(app).get(LIST).text
    assert "No connection yet" in text(page)
    assert "Add the first connection" in text(page)


def test_the_list_has_the_columns(app: Flask) -> None:
    a_connection(app)
    page = let_in(app).get(LIST).text
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)
    assert heads == [
        "ID",
        "Caption",
        "Driver",
        "Host",
        "Port",
        "Username",
        "Send from",
        "Send from name",
        "Encryption",
        "Enabled",
    ]
    shown = text(page)
    for word in ("Main", "smtp", "587", "shop", "Shop", "STARTTLS", "yes", "Not used yet"):
        assert word in shown
    assert "s3cret-words" not in page


def test_the_list_tells_how_many_messages_wait(app: Flask) -> None:
    number = a_connection(app)
    add(engine_of(app), a_message(connection_id=number), a_message(connection_id=number))
    assert "2 messages wait." in text(let_in(app).get(LIST).text)


# ---------------------------------------------------------------- the form


def test_a_new_connection(app: Flask) -> None:
    client = let_in(app)
    answer = client.post(f"{LIST}new", data=FIELDS)
    assert answer.status_code == 303
    stored = get(app, 1)
    assert (stored.caption, stored.port, stored.enabled) == ("Main", 587, True)
    assert stored.password(core_of(app).keys) == "s3cret-words"
    after = client.get(answer.location).text
    assert "“Main” is stored." in text(after)
    assert "s3cret-words" not in after


def test_an_error_is_next_to_its_field_and_what_was_typed_stays(app: Flask) -> None:
    wrong = {**FIELDS, "port": "70000", "caption": "Kept", "sender_name": ""}
    answer = let_in(app).post(f"{LIST}new", data=wrong)
    page = answer.text
    assert answer.status_code == 422
    assert 'id="field-port-error"' in page
    assert "Please enter an SMTP port between 1 and 49151." in text(page)
    assert "2 things have to be corrected. Nothing was saved." in text(page)
    assert 'href="#field-port"' in page
    assert value(page, "caption") == "Kept"
    assert value(page, "port") == "70000"
    assert "s3cret-words" not in page
    assert page.count("autofocus") == 1
    assert re.search(r'<input(?=[^>]*\bautofocus)[^>]*\bname="port"', page)
    assert rows_of(app, Connection) == []


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("host", "", "Please enter an SMTP host within 100 characters."),
        ("host", "x" * 101, "Please enter an SMTP host within 100 characters."),
        ("port", "0", "Please enter an SMTP port between 1 and 49151."),
        ("port", "49152", "Please enter an SMTP port between 1 and 49151."),
        ("sender_name", "", "Please enter a sender name."),
        ("confirm_password", "different", "The two passwords are not the same."),
    ],
)
def test_sentences(app: Flask, field: str, typed: str, sentence: str) -> None:
    page = let_in(app).post(f"{LIST}new", data={**FIELDS, field: typed}).text
    assert sentence in text(page)
    assert rows_of(app, Connection) == []


def test_policies(make_app: MakeApp) -> None:
    app = make_app(SMTP_ADMIN_ACCOUNT_POLICY="email", SMTP_ADMIN_PASSWORD_POLICY="strict")
    client = let_in(app)
    page = text(client.post(f"{LIST}new", data=FIELDS).text)
    assert "Please enter an SMTP account address in email format." in page
    assert "The SMTP account password does not meet the rules." in page
    good = {"username": "shop@example.org", "password": "Kp7!Wz2@Ht"}
    both = {**FIELDS, **good, "confirm_password": good["password"]}
    assert client.post(f"{LIST}new", data=both).status_code == 303
    assert "10 to 20 characters" in text(client.get(f"{LIST}new").text)


def test_without_a_safe_key_the_form_says_what_to_set(make_app: MakeApp) -> None:
    app = make_app(SECRET_KEY="dev")
    answer = let_in(app).post(f"{LIST}new", data=FIELDS)
    assert answer.status_code == 422
    assert "SECRET_KEY is a value that everybody knows" in text(answer.text)


def test_editing_starts_with_the_stored_values_but_the_password(app: Flask) -> None:
    number = a_connection(app, limit_per_hour=50)
    page = let_in(app).get(f"{LIST}{number}/").text
    assert value(page, "host") == "smtp.example.org"
    assert value(page, "limit_per_hour") == "50"
    assert not value(page, "password")
    assert not value(page, "confirm_password")
    assert "s3cret-words" not in page
    assert "Stored just now" in text(page) or re.search(r"Stored \d+ s ago", text(page))


def test_editing_keeps_an_empty_password(app: Flask) -> None:
    number = a_connection(app)
    kept = {**FIELDS, "password": "", "confirm_password": "", "caption": "Renamed"}
    answer = let_in(app).post(f"{LIST}{number}/", data=kept)
    assert answer.status_code == 303
    stored = get(app, number)
    assert stored.caption == "Renamed"
    assert stored.password(core_of(app).keys) == "s3cret-words"


def test_another_host_asks_for_the_password_again(app: Flask) -> None:
    number = a_connection(app)
    moved = {**FIELDS, "password": "", "confirm_password": "", "host": "evil.example.net"}
    answer = let_in(app).post(f"{LIST}{number}/", data=moved)
    assert answer.status_code == 422
    assert "enter the password again: the host has changed, and" in text(answer.text)
    assert value(answer.text, "host") == "evil.example.net"
    assert get(app, number).host == "smtp.example.org"


def test_clearing_the_password(app: Flask) -> None:
    number = a_connection(app)
    cleared = {**FIELDS, "password": "", "confirm_password": "", "clear_password": "1"}
    client = let_in(app)
    client.post(f"{LIST}{number}/", data=cleared)
    assert get(app, number).password_token is None
    assert "No password is stored" in text(client.get(LIST).text)


def test_the_only_connection_cannot_be_disabled_in_the_form(app: Flask) -> None:
    number = a_connection(app)
    off = {k: v for k, v in FIELDS.items() if k != "enabled"}
    answer = let_in(app).post(f"{LIST}{number}/", data=off)
    assert answer.status_code == 422
    assert "only enabled connection" in text(answer.text)
    assert get(app, number).enabled


def test_presets_without_scripts(app: Flask) -> None:
    page = let_in(app).get(f"{LIST}new?preset=sendgrid").text
    assert value(page, "host") == "smtp.sendgrid.net"
    assert value(page, "port") == "587"
    assert value(page, "username") == "apikey"
    assert "the password is the API key" in text(page)


def test_a_wrong_field_opens_the_fold(app: Flask) -> None:
    client = let_in(app)
    folded = client.get(f"{LIST}new").text
    opened = client.post(f"{LIST}new", data={**FIELDS, "max_sessions": "no"}).text
    assert re.search(r"<details>\s*<summary>Advanced", folded)
    assert re.search(r"<details open>\s*<summary>Advanced", opened)


def test_advanced_fields_are_stored(app: Flask) -> None:
    other = a_connection(app, caption="Other")
    advanced: dict[str, Any] = {
        "auth_mechanism": "CRAM-MD5",
        "allow_plain_auth": "1",
        "sender_patterns": "*@example.org",
        "fallback_id": str(other),
        "limit_per_minute": "10",
        "limit_per_day": "",
        "max_sessions": "3",
        "messages_per_session": "50",
        "max_attempts": "4",
        "connect_timeout": "5",
        "reply_timeout": "20",
        "final_timeout": "300",
        "session_deadline": "900",
        "driver": "smtp",
        "ca_certificate": "",
    }
    let_in(app).post(f"{LIST}new", data={**FIELDS, "encryption": "none", **advanced})
    stored = get(app, 2)
    assert stored.encryption is Encryption.NONE
    assert stored.fallback_id == other
    assert (stored.limit_per_minute, stored.limit_per_day) == (10, None)
    assert (stored.max_attempts, stored.session_deadline) == (4, 900)


# ---------------------------------------------------------------- the buttons


def test_disable_and_enable(app: Flask) -> None:
    first, _ = a_connection(app), a_connection(app, caption="Second")
    client = let_in(app)
    assert client.post(f"{LIST}{first}/disable").status_code == 303
    assert not get(app, first).enabled
    assert "“Main” is disabled." in text(client.get(LIST).text)
    client.post(f"{LIST}{first}/enable")
    assert get(app, first).enabled


def test_the_only_enabled_one_stays_and_the_page_says_why(app: Flask) -> None:
    number = a_connection(app)
    client = let_in(app)
    for act in ("disable", "delete"):
        client.post(f"{LIST}{number}/{act}")
        assert "“Main” is the only enabled connection" in text(client.get(LIST).text)
    assert get(app, number).enabled


def test_disabling_tells_what_stays_and_why(app: Flask) -> None:
    first, _ = a_connection(app), a_connection(app, caption="Second")
    free = [a_message(connection_id=first) for _ in range(2)]
    add(engine_of(app), *free, a_message(connection_id=first, pinned=True))
    client = let_in(app)
    client.post(f"{LIST}{first}/disable")
    page = text(client.get(LIST).text)
    assert (
        "“Main” is disabled. 2 waiting messages go to the next connection that carries mail from "
        "their sender. 1 message stays, because this connection was chosen for it: enable it "
        "again, or move the message to another one."
    ) in page


def test_disabling_in_the_form_tells_it_too(app: Flask) -> None:
    first, _ = a_connection(app), a_connection(app, caption="Second")
    add(engine_of(app), a_message(connection_id=first, pinned=True))
    client = let_in(app)
    off = {k: v for k, v in FIELDS.items() if k != "enabled"}
    client.post(f"{LIST}{first}/", data={**off, "password": "", "confirm_password": ""})
    assert "“Main” is saved. 1 message stays" in text(client.get(LIST).text)


def test_disabling_without_messages_speaks_of_none(app: Flask) -> None:
    first, _ = a_connection(app), a_connection(app, caption="Second")
    client = let_in(app)
    client.post(f"{LIST}{first}/disable")
    assert "“Main” is disabled. Connections" in text(client.get(LIST).text)


def test_the_last_enabled_one_is_not_offered_for_deletion(app: Flask) -> None:
    number = a_connection(app)
    page = let_in(app).get(f"{LIST}{number}/delete").text
    assert "“Main” is the only enabled connection, so it can't be deleted" in text(page)
    assert ">Delete</button>" not in page


def test_delete_asks_first(app: Flask) -> None:
    first, second = a_connection(app), a_connection(app, caption="Second")
    add(engine_of(app), a_message(connection_id=second))
    client = let_in(app)
    question = text(client.get(f"{LIST}{second}/delete").text)
    assert "Delete the connection “Second”?" in question
    assert "1 message in its queue goes to the other connections" in question
    assert len(rows_of(app, Connection)) == 2
    client.post(f"{LIST}{second}/delete")
    assert [row["id"] for row in rows_of(app, Connection)] == [first]


def test_clone_leads_to_the_copy(app: Flask) -> None:
    number = a_connection(app)
    client = let_in(app)
    answer = client.post(f"{LIST}{number}/clone")
    page = client.get(answer.location).text
    assert value(page, "caption") == "Main (copy)"
    assert not get(app, 2).enabled


def test_order(app: Flask) -> None:
    a_connection(app, caption="One")
    second = a_connection(app, caption="Two")
    client = let_in(app)
    a_connection(app, caption="Three")
    there = client.post(f"{LIST}{second}/move", data={"direction": "up"}).location
    assert there.endswith(f"#use-down-{second}"), "the way up ends there"
    page = client.get(LIST).text
    assert text(page).index("Two") < text(page).index("One")
    assert f'id="use-down-{second}"' in page
    there = client.post(f"{LIST}{second}/move", data={"direction": "down"}).location
    assert there.endswith(f"#use-down-{second}")


def test_get_changes_nothing(app: Flask) -> None:
    number = a_connection(app)
    a_connection(app, caption="Second")
    client = let_in(app)
    before = rows_of(app, Connection)
    for act in ("enable", "disable", "move", "clone", "delete", "test", "form/test"):
        client.get(f"{LIST}{number}/{act}")
    assert rows_of(app, Connection) == before
    with engine_of(app).connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Connection)) == 2
