"""The form of a connection: its fields in words, and reading it from a request.

Owns labels and help. Must not know the rules: they are in :mod:`flask_smtp_admin.connections`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.datastructures import MultiDict

from flask_smtp_admin.config import Config
from flask_smtp_admin.connections import DEFAULTS, DRIVERS, FIELDS, STRICT_RULES
from flask_smtp_admin.models import AuthMechanism, Connection

from .forms import Choice, Field, Form

FLAGS = ("use_auth", "allow_plain_auth", "enabled", "clear_password")
ADVANCED = (
    "driver",
    "auth_mechanism",
    "allow_plain_auth",
    "ca_certificate",
    "sender_patterns",
    "fallback_id",
    "limit_per_minute",
    "limit_per_hour",
    "limit_per_day",
    "max_sessions",
    "messages_per_session",
    "max_attempts",
    "connect_timeout",
    "reply_timeout",
    "final_timeout",
    "session_deadline",
)
"""Folded away; the fold is open when one of them is wrong."""

TRIED = (
    "host",
    "port",
    "encryption",
    "use_auth",
    "username",
    "password",
    "auth_mechanism",
    "allow_plain_auth",
    "ca_certificate",
    "connect_timeout",
    "reply_timeout",
    "final_timeout",
    "session_deadline",
    "sender_address",
    "test_recipient",
)
"""What a test uses; an error elsewhere does not stop it."""

_NO_MANAGER = {"autocomplete": "off", "data-1p-ignore": True, "data-lpignore": "true"}
_CODE = {"autocapitalize": "none", "spellcheck": "false"}


def _number(name: str, label: str) -> Field:
    attributes = {"inputmode": "numeric", "autocomplete": "off"}
    return Field(name, label, width="short", attributes=attributes)


def fields(config: Config, others: Iterable[Connection], *, has_password: bool) -> list[Field]:
    """Return the fields in the order of the page.

    :param others: the connections that could take over.
    :param has_password: a password is stored already.
    """
    return [
        *_main_fields(config, has_password=has_password),
        *_advanced_fields(others),
        Field(
            "test_recipient",
            "Send a test message to",
            "email",
            "Empty: the test goes as far as the recipient and stops before a message is sent.",
            optional=True,
            attributes={**_NO_MANAGER, "placeholder": "you@example.org"},
        ),
    ]


def _main_fields(config: Config, *, has_password: bool) -> list[Field]:
    strict = config.password_policy == "strict"  # noqa: S105 - the policy's name
    username_help = (
        "An address in e-mail format."
        if config.account_policy == "email"
        else "As the server knows it; often the whole address."
    )
    return [
        Field("caption", "Caption", help="What this connection is called on these pages."),
        Field(
            "host",
            "Host",
            help="The name or IP address of the SMTP server.",
            attributes={**_NO_MANAGER, **_CODE, "placeholder": "smtp.example.org"},
        ),
        Field(
            "encryption",
            "Encryption",
            "select",
            choices=(
                Choice("starttls", "STARTTLS"),
                Choice("implicit", "SSL/TLS"),
                Choice("none", "None"),
            ),
        ),
        _number("port", "Port"),
        Field(
            "use_auth",
            "Use SMTP authentication",
            "check",
            help="Off: username and password are ignored.",
        ),
        Field("username", "Username", help=username_help, attributes={**_NO_MANAGER, **_CODE}),
        Field(
            "password",
            "New password" if has_password else "Password",
            "password",
            help="; ".join(STRICT_RULES).capitalize() + "." if strict else "",
            attributes={"data-1p-ignore": True, "data-lpignore": "true"},
        ),
        Field(
            "confirm_password",
            "Confirm password",
            "password",
            attributes={"data-1p-ignore": True, "data-lpignore": "true"},
        ),
        Field("clear_password", "Clear the stored password", "check"),
        Field(
            "sender_name",
            "Send from name",
            help="The name that recipients see.",
            attributes=_NO_MANAGER,
        ),
        Field(
            "sender_address",
            "Send from",
            "email",
            "The address that recipients see, where a message names no other.",
            attributes=_NO_MANAGER,
        ),
        Field("enabled", "Enabled", "check", help="Messages are sent through this connection."),
    ]


def _advanced_fields(others: Iterable[Connection]) -> list[Field]:
    nobody = Choice("", "None: messages wait until it works again")
    return [
        Field(
            "driver",
            "Driver",
            "select",
            "How messages leave.",
            width="medium",
            choices=tuple(Choice(name, label) for name, label in DRIVERS.items()),
        ),
        Field(
            "auth_mechanism",
            "AUTH mechanism",
            "select",
            "Automatic takes the first that both sides know. With XOAUTH2 the password is the "
            "access token.",
            width="medium",
            choices=tuple(
                Choice(m.value, "Automatic" if m is AuthMechanism.AUTO else m.value)
                for m in AuthMechanism
            ),
        ),
        Field(
            "allow_plain_auth",
            "Allow the password to be sent unencrypted",
            "check",
            "Only matters without encryption. Everybody on the way can read the password then.",
        ),
        Field(
            "ca_certificate",
            "Trusted certificate",
            "lines",
            "Of a private authority, or the server's own, in PEM format. Empty: the authorities "
            "that the system trusts. The certificate and its name are always checked.",
            optional=True,
            rows=4,
            attributes={**_CODE, "placeholder": "-----BEGIN CERTIFICATE-----"},
        ),
        Field(
            "sender_patterns",
            "Carries mail from",
            "lines",
            "One address or *@example.org a line. Empty: from every sender that no other "
            "connection names.",
            optional=True,
            attributes=_CODE,
        ),
        Field(
            "fallback_id",
            "Takes over when this one fails",
            "select",
            choices=(nobody, *(Choice(str(o.id), o.caption) for o in others)),
        ),
        _number("limit_per_minute", "Messages per minute"),
        _number("limit_per_hour", "Messages per hour"),
        _number("limit_per_day", "Messages per day"),
        _number("max_sessions", "Sessions at once"),
        _number("messages_per_session", "Messages per session"),
        _number("max_attempts", "Tries per message"),
        _number("connect_timeout", "To connect"),
        _number("reply_timeout", "For a reply"),
        _number("final_timeout", "For the final reply"),
        _number("session_deadline", "For a whole session"),
    ]


def read(form: MultiDict[str, str]) -> dict[str, Any]:
    """Return what was typed; a box that is not ticked counts as off."""
    typed: dict[str, Any] = {
        name: form[name]
        for name in (*FIELDS, "password", "confirm_password")
        if name in form and name not in FLAGS
    }
    typed.update({name: name in form for name in FLAGS})
    return typed


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as inputs show them, without any password."""
    return {
        name: "" if value is None else value
        for name, value in values.items()
        if name not in {"password", "confirm_password", "clear_password"}
    }


def of_stored(connection: Connection) -> dict[str, Any]:
    """Return the values of a stored connection, without its password."""
    return shown({name: getattr(connection, name) for name in FIELDS})


def blank() -> dict[str, Any]:
    """Return the values of an empty form; an empty port follows the encryption."""
    return shown({**DEFAULTS, "use_auth": True})


def form_of(
    config: Config,
    others: Iterable[Connection],
    values: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    *,
    has_password: bool,
) -> Form:
    """Return the form filled with values and errors."""
    return Form(fields(config, others, has_password=has_password), values, errors)
