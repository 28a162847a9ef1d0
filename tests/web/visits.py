"""Visiting the pages: a client that is let in, and reading what it sees."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_smtp_admin import connections
from flask_smtp_admin.core import EXTENSION_KEY, State
from tests.apps import core_of

PREFIX = "/smtp-admin"

FIELDS: dict[str, Any] = {
    "caption": "Main",
    "host": "smtp.example.org",
    "port": "587",
    "encryption": "starttls",
    "use_auth": "1",
    "username": "shop",
    "password": "s3cret-words",
    "confirm_password": "s3cret-words",
    "sender_name": "Shop",
    "sender_address": "shop@example.org",
    "enabled": "1",
}
"""What a browser sends of a filled form."""


def state_of(app: Flask) -> State:
    state: State = app.extensions[EXTENSION_KEY]
    return state


def let_in(app: Flask, may: Callable[[str], object] = lambda action: True) -> FlaskClient:
    """Return a client for whom ``may`` answers; CSRF is off, since other tests are about it."""
    app.testing = True
    app.config["WTF_CSRF_ENABLED"] = False
    state_of(app).authorize = may
    return app.test_client()


def a_connection(app: Flask, **changes: Any) -> int:
    """Store a connection and return its number."""
    fields = {
        "caption": "Main",
        "host": "smtp.example.org",
        "port": 587,
        "username": "shop",
        "password": "s3cret-words",
        "sender_name": "Shop",
        "sender_address": "shop@example.org",
    }
    with app.app_context():
        return connections.create(core_of(app), {**fields, **changes})


def token(page: str) -> str:
    """Return the CSRF token of the forms on a page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found, "no form with a token on this page"
    return found[1]


def text(page: str) -> str:
    """Return what a person reads of a page: no markup, one space between words."""
    body = page.partition("<body>")[2]
    body = body.replace("<wbr>", "")
    without = re.sub(r"<(script|svg)\b.*?</\1>", " ", body, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", without)).split())


def value(page: str, name: str) -> str | None:
    """Return the value that an input shows, or ``None`` when it shows none."""
    found = re.search(rf'<input[^>]*\bname="{name}"[^>]*>', page)
    assert found, f"no input {name} on this page"
    shown = re.search(r'\bvalue="([^"]*)"', found[0])
    return html.unescape(shown[1]) if shown else None
