"""What the forms of the pages have in common."""

from __future__ import annotations

import pytest
from flask import Flask
from wtforms import BooleanField, SelectField, StringField

from flask_smtp_admin.connections import DRIVERS
from flask_smtp_admin.models import Connection
from flask_smtp_admin.web.forms import PageForm, choices, stripped
from tests.apps import rows_of
from tests.web.visits import FIELDS, PREFIX, a_connection, let_in, value

LIST = f"{PREFIX}/connections/"


class OrderForm(PageForm):
    """A form for the tests."""

    first = StringField("First", filters=[stripped])
    second = StringField("Second")
    colour = SelectField("Colour", choices=choices(("r", "Red"), ("g", "Green")))
    gift = BooleanField("Gift")


def test_ids_are_those_that_errors_link_to(app: Flask) -> None:
    with app.test_request_context():
        form = OrderForm()
    assert [field.id for field in form] == [
        "field-first",
        "field-second",
        "field-colour",
        "field-gift",
    ]


def test_the_token_is_no_matter_of_the_form(app: Flask) -> None:
    with app.test_request_context(method="POST", data={"colour": "r"}):
        form = OrderForm()
        assert "csrf_token" not in form
        assert form.validate()


def test_before_a_post_a_form_shows_its_data(app: Flask) -> None:
    with app.test_request_context("/?first=address"):
        form = OrderForm(data={"first": " one ", "colour": "g"})
    assert (form.first.data, form.second.data, form.colour.data) == ("one", None, "g")
    assert 'selected value="g"' in form.colour()


def test_after_a_post_it_shows_what_was_typed(app: Flask) -> None:
    with app.test_request_context(method="POST", data={"first": "two", "second": ""}):
        form = OrderForm(data={"first": "one", "second": "one", "gift": True})
    assert (form.first.data, form.second.data, form.gift.data) == ("two", "", False)


def test_only_a_posted_form_is_read(app: Flask) -> None:
    with app.test_request_context(method="POST", json={"first": 7}):
        assert OrderForm(data={"first": "one"}).first.data == "one"


def test_sentences_go_to_their_fields_and_the_first_takes_the_focus(app: Flask) -> None:
    with app.test_request_context():
        form = OrderForm()
    form.refuse({"colour": "No such colour.", "second": "Say more."})
    assert form.errors == {"second": ["Say more."], "colour": ["No such colour."]}
    assert [field.name for field in form if "autofocus" in field()] == ["second"]
    assert form.any_wrong("first", "colour")
    assert not form.any_wrong("first", "gift")


def test_the_focus_of_one_form_is_not_that_of_the_next(app: Flask) -> None:
    with app.test_request_context():
        OrderForm().refuse({"first": "Wrong."})
        assert "autofocus" not in OrderForm().first()


def test_a_sentence_for_no_field_is_a_fault(app: Flask) -> None:
    with app.test_request_context():
        form = OrderForm()
    with pytest.raises(KeyError):
        form.refuse({"third": "Nobody would see this."})


# ---------------------------------------------------------------- the form of a connection


def test_a_field_that_was_not_sent_stays_as_it_is(app: Flask) -> None:
    number = a_connection(app, limit_per_hour=50)
    part = {**FIELDS, "password": "", "confirm_password": ""}
    client = let_in(app)
    refused = client.post(f"{LIST}{number}/", data={**part, "sender_name": ""})
    assert value(refused.text, "limit_per_hour") == "50"
    client.post(f"{LIST}{number}/", data={k: v for k, v in part.items() if k != "caption"})
    stored = rows_of(app, Connection)[0]
    assert (stored["caption"], stored["limit_per_hour"]) == ("Main", 50)


def test_a_choice_that_there_is_not_is_refused_in_our_words(app: Flask) -> None:
    answer = let_in(app).post(f"{LIST}new", data={**FIELDS, "encryption": "rot13"})
    assert answer.status_code == 422
    assert "Please choose one of" in answer.text


def test_a_driver_of_the_host_can_be_chosen(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DRIVERS, "pigeon", "Carrier pigeon")
    client = let_in(app)
    assert '<option value="pigeon">Carrier pigeon</option>' in client.get(f"{LIST}new").text
    assert client.post(f"{LIST}new", data={**FIELDS, "driver": "pigeon"}).status_code == 303
    assert rows_of(app, Connection)[0]["driver"] == "pigeon"


def test_a_driver_that_only_the_worker_knows_stays(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(DRIVERS, "pigeon", "Carrier pigeon")
        number = a_connection(app, driver="pigeon")
    client = let_in(app)
    page = client.get(f"{LIST}{number}/").text
    assert '<option selected value="pigeon">pigeon (not registered here)</option>' in page
    kept = {**FIELDS, "password": "", "confirm_password": "", "driver": "pigeon"}
    assert client.post(f"{LIST}{number}/", data=kept).status_code == 303
    assert rows_of(app, Connection)[0]["driver"] == "pigeon"
    assert "pigeon" not in client.get(f"{LIST}new").text


def test_how_far_a_test_goes_is_one_of_two(app: Flask) -> None:
    number = a_connection(app)
    answer = let_in(app).post(f"{LIST}{number}/test", data={"mode": "further"})
    assert answer.status_code == 422
    assert 'id="field-mode-error"' in answer.text
