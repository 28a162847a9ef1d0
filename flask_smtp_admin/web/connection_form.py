"""The form of a connection: its fields in words, and what was typed into them.

Owns labels, help and the order of the fields. Must not know the rules: they are in
:mod:`flask_smtp_admin.connections`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wtforms import (
    BooleanField,
    EmailField,
    PasswordField,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import Optional

from flask_smtp_admin.config import Config
from flask_smtp_admin.connections import (
    DEFAULTS,
    DRIVERS,
    FIELDS,
    SECRET_FIELDS,
    STRICT_RULES,
    Preset,
)
from flask_smtp_admin.models import AuthMechanism, Connection

from .forms import PageForm, choices, stripped

LIMITS = (
    "limit_per_minute",
    "limit_per_hour",
    "limit_per_day",
    "max_sessions",
    "messages_per_session",
    "max_attempts",
)
PATIENCE = ("connect_timeout", "reply_timeout", "final_timeout", "session_deadline")
ADVANCED = (
    "sender_patterns",
    "fallback_id",
    "hands_over",
    "ca_certificate",
    "auth_mechanism",
    "allow_plain_auth",
    *LIMITS,
    *PATIENCE,
    "driver",
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
    "driver",
    *PATIENCE,
    "sender_address",
    "test_recipient",
)
"""What a test uses; an error elsewhere does not stop it."""

_NO_MANAGER = {"autocomplete": "off", "data-1p-ignore": True, "data-lpignore": "true"}
_CODE = {"autocapitalize": "none", "spellcheck": "false"}
_PASSWORD = {"autocomplete": "new-password", "data-1p-ignore": True, "data-lpignore": "true"}


def _switch(label: str, description: str = "") -> BooleanField:
    return BooleanField(label, description=description, render_kw={"value": "1"})


def _number(label: str) -> StringField:
    # No IntegerField: the rule reads the text as it was typed, and says what is wrong with it.
    return StringField(label, render_kw={"inputmode": "numeric", "autocomplete": "off"})


class ConnectionForm(PageForm):
    """The form of a new or a stored connection, in the order of the page.

    ``Optional`` marks a field for the reader; whether one may be empty is for the rules to say.

    :param others: the connections that could take over.
    :param stored: the connection that is being changed, if there is one.
    :param preset: the provider whose server is filled in.
    """

    caption = StringField("Caption", description="What this connection is called on these pages.")
    host = StringField(
        "Host",
        description="The name or IP address of the SMTP server.",
        render_kw={**_NO_MANAGER, **_CODE, "placeholder": "smtp.example.org"},
    )
    encryption = SelectField(
        "Encryption",
        choices=choices(("starttls", "STARTTLS"), ("implicit", "SSL/TLS"), ("none", "None")),
    )
    port = _number("Port")
    use_auth = _switch("Use SMTP authentication", "Off: username and password are ignored.")
    username = StringField("Username", render_kw={**_NO_MANAGER, **_CODE})
    password = PasswordField("Password", render_kw=_PASSWORD)
    confirm_password = PasswordField("Confirm password", render_kw=_PASSWORD)
    clear_password = _switch("Clear the stored password")
    sender_name = StringField(
        "Send from name", description="The name that recipients see.", render_kw=_NO_MANAGER
    )
    sender_address = EmailField(
        "Send from",
        description="The address that recipients see, where a message names no other.",
        render_kw=_NO_MANAGER,
    )
    enabled = _switch("Enabled", "Messages are sent through this connection.")

    sender_patterns = TextAreaField(
        "Carries mail from",
        [Optional()],
        description="One address or *@example.org a line. Empty: from every sender that no other "
        "connection names.",
        render_kw={**_CODE, "rows": 3},
    )
    fallback_id = SelectField("Takes over when this one fails")
    hands_over = _switch(
        "Or the next in order",
        "While it is broken and none is chosen above, or that one is broken too, its mail goes over "
        "the next connection that carries the same senders. Off: it waits.",
    )
    ca_certificate = TextAreaField(
        "Trusted certificate",
        [Optional()],
        description="Of a private authority, or the server's own, in PEM format. Empty: the "
        "authorities that the system trusts. The certificate and its name are always checked.",
        render_kw={**_CODE, "rows": 4, "placeholder": "-----BEGIN CERTIFICATE-----"},
    )
    auth_mechanism = SelectField(
        "AUTH mechanism",
        description="Automatic takes the first that both sides know. With XOAUTH2 the password is "
        "the access token.",
        choices=choices(
            *((m.value, "Automatic" if m is AuthMechanism.AUTO else m.value) for m in AuthMechanism)
        ),
    )
    allow_plain_auth = _switch(
        "Allow the password to be sent unencrypted",
        "Only matters without encryption. Everybody on the way can read the password then.",
    )
    limit_per_minute = _number("Messages per minute")
    limit_per_hour = _number("Messages per hour")
    limit_per_day = _number("Messages per day")
    max_sessions = _number("Sessions at once")
    messages_per_session = _number("Messages per session")
    max_attempts = _number("Tries per message")
    connect_timeout = _number("To connect")
    reply_timeout = _number("For a reply")
    final_timeout = _number("For the final reply")
    session_deadline = _number("For a whole session")
    driver = SelectField("Driver", description="How messages leave.")

    test_recipient = EmailField(
        "Send a test message to",
        [Optional()],
        filters=[stripped],
        description="Empty: the test stops when the server is ready for a message, and sends none.",
        render_kw={**_NO_MANAGER, "placeholder": "you@example.org"},
    )

    def __init__(
        self,
        config: Config,
        others: Iterable[Connection],
        stored: Connection | None = None,
        preset: Preset | None = None,
    ) -> None:
        super().__init__(data={**_values(stored), **_preset_values(preset)})
        if config.account_policy == "email":
            self.username.description = "An address in e-mail format."
        else:
            self.username.description = "As the server knows it; often the whole address."
        if config.password_policy == "strict":  # noqa: S105 - the policy's name
            self.password.description = "; ".join(STRICT_RULES).capitalize() + "."
        if stored is not None and stored.password_token is not None:
            self.password.label.text = "New password"
        self.driver.choices = choices(*_drivers(stored))
        self.fallback_id.choices = choices(
            ("", "None in particular"),
            *((str(other.id), other.caption) for other in others),
        )

    def typed(self) -> dict[str, Any]:
        """Return what was sent, for the rules to read; a box that is not ticked counts as off.

        Without a field that was not sent at all: that one stays as it is.
        """
        return {
            name: self[name].data
            for name in (*FIELDS, *SECRET_FIELDS)
            if self[name].raw_data or isinstance(self[name], BooleanField)
        }


def _drivers(stored: Connection | None) -> list[tuple[str, str]]:
    """Return the drivers of now: a host adds to them as it starts.

    The stored one is among them in any case, or else the browser would send the first one.
    """
    known = list(DRIVERS.items())
    if stored is not None and stored.driver not in DRIVERS:
        known.append((stored.driver, f"{stored.driver} (not registered here)"))
    return known


def _values(stored: Connection | None) -> dict[str, Any]:
    """Return what the form begins with. An empty port follows the encryption."""
    if stored is None:
        values = {**DEFAULTS, "use_auth": True}
    else:
        values = {name: getattr(stored, name) for name in FIELDS}
    return {name: "" if value is None else value for name, value in values.items()}


def _preset_values(preset: Preset | None) -> dict[str, Any]:
    if preset is None:
        return {}
    values = {"host": preset.host, "port": preset.port, "encryption": preset.encryption}
    if preset.username:
        values["username"] = preset.username
    return values
