"""What a connection's fields may hold, and what a person reads when one is wrong.

Owns every rule and its sentence, the defaults, and reading typed text into values. Pure: must not
know the database; what depends on other connections is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from flask_smtp_admin.config import Config
from flask_smtp_admin.models import AuthMechanism, Connection, Encryption
from flask_smtp_admin.models.connection import DEFAULT_PORTS
from flask_smtp_admin.smtp.text import has_control

from . import passwords
from .drivers import DRIVERS
from .values import (
    ACCOUNT_ADDRESS,
    address_of,
    certificate_objection,
    digits,
    sender_pattern,
)

MAX_PORT = 49151
"""The last port that is registered to a service (RFC 6335); those above are for clients."""

DEFAULTS: dict[str, Any] = {
    "driver": "smtp",
    "encryption": Encryption.STARTTLS,
    "username": "",
    "auth_mechanism": AuthMechanism.AUTO,
    "allow_plain_auth": False,
    "ca_certificate": None,
    "connect_timeout": 10,
    "reply_timeout": 30,
    "final_timeout": 600,
    "session_deadline": 3600,
    "enabled": True,
    "fallback_id": None,
    "hands_over": True,
    "sender_patterns": "",
    "limit_per_minute": None,
    "limit_per_hour": None,
    "limit_per_day": None,
    "max_sessions": 2,
    "messages_per_session": 100,
    "max_attempts": None,
}
REQUIRED = ("caption", "host", "sender_name", "sender_address")
FIELDS = (*REQUIRED, "port", "use_auth", *DEFAULTS)
"""The columns that a person fills in; ``password``, ``confirm_password`` and ``clear_password``
come beside them and are never stored as they are."""

SECRET_FIELDS = ("password", "confirm_password", "clear_password")
BOUND_TO_PASSWORD = {
    "host": "host",
    "port": "port",
    "username": "username",
    "encryption": "encryption",
    "ca_certificate": "trusted certificate",
    "auth_mechanism": "AUTH mechanism",
    "allow_plain_auth": "leave to send it unencrypted",
    "driver": "driver",
}
"""Where the stored password goes, and who can read it on the way, each in words. A change asks for it again, or an
editor could have it sent to a server of his own, or to where he listens."""


@dataclass
class Checked:
    """What :func:`check` found.

    :param values: the columns to store; a field that is wrong is not among them.
    :param errors: sentences by field name.
    :param password: the new password, if one was given.
    :param forget_password: the stored password is to be removed.
    """

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    password: str | None = None
    forget_password: bool = False


def check(
    fields: Mapping[str, Any],
    config: Config,
    *,
    stored: Connection | None = None,
    captions: Mapping[str, int] | None = None,
    ids: frozenset[int] = frozenset(),
    now: datetime | None = None,
    password_required: bool = True,
) -> Checked:
    """Read typed or given fields, and say what is wrong with each.

    A field that is not given has its stored value, or its default. An empty port takes the
    encryption's default, an empty password keeps the stored one.

    :param stored: the connection that is being changed.
    :param captions: the captions that are taken, case-folded, and whose they are.
    :param ids: the numbers of the connections that there are.
    :param now: when given, certificates that have ended are refused.
    :param password_required: a new connection with authentication needs a password.
    """
    reading = _Check(fields, config, stored, captions=captions or {}, ids=ids, now=now)
    return reading.run(password_required)


SECONDS = " of seconds"
RANGES: dict[str, tuple[int, int, str]] = {
    "connect_timeout": (1, 300, SECONDS),
    "reply_timeout": (1, 600, SECONDS),
    "final_timeout": (1, 3600, SECONDS),
    "session_deadline": (10, 86_400, SECONDS),
    "limit_per_minute": (1, 1_000_000, ""),
    "limit_per_hour": (1, 10_000_000, ""),
    "limit_per_day": (1, 100_000_000, ""),
    "max_sessions": (1, 100, ""),
    "messages_per_session": (1, 10_000, ""),
    "max_attempts": (1, 100, ""),
}
OPTIONAL = frozenset({"limit_per_minute", "limit_per_hour", "limit_per_day", "max_attempts"})


class _Check:
    """One run of :func:`check`; every method reads one kind of field."""

    def __init__(
        self,
        fields: Mapping[str, Any],
        config: Config,
        stored: Connection | None,
        *,
        captions: Mapping[str, int],
        ids: frozenset[int],
        now: datetime | None,
    ) -> None:
        self.given = {k: v.strip() if isinstance(v, str) else v for k, v in fields.items()}
        for name in ("password", "confirm_password"):
            self.given[name] = fields.get(name) or ""  # a space may be part of a password
        self.confirmed = "confirm_password" in fields  # a form asks twice, code and CLI once
        self.config, self.stored, self.captions = config, stored, captions
        self.ids, self.now = ids, now
        self.found = Checked()

    def run(self, password_required: bool) -> Checked:
        for name in sorted(set(self.given) - set(FIELDS) - set(SECRET_FIELDS)):
            self._wrong(name, _unknown(name))
        self._caption()
        self._driver()
        self._text("host", 100, "Please enter an SMTP host within 100 characters.")
        self._choice("encryption", [e.value for e in Encryption], Encryption)
        self._port()
        self._text("sender_name", 100, "Please enter a sender name.")
        self._sender_address()
        self._flags()
        self._choice("auth_mechanism", [m.value for m in AuthMechanism], AuthMechanism)
        self._username()
        self._certificate()
        self._password(password_required)
        self._numbers()
        self._fallback()
        self._patterns()
        return self.found

    # ------------------------------------------------------------ small parts

    def _value(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        if self.stored is not None:
            return getattr(self.stored, name)
        return DEFAULTS.get(name)

    def _wrong(self, name: str, sentence: str) -> None:
        self.found.errors[name] = sentence

    def _text(self, name: str, longest: int, sentence: str) -> None:
        text = str(self._value(name) or "")
        if not 1 <= len(text) <= longest or has_control(text):
            self._wrong(name, sentence)
        else:
            self.found.values[name] = text

    def _choice(self, name: str, choices: Any, convert: Callable[[str], Any]) -> None:
        value = str(self._value(name))
        if value not in choices:
            self._wrong(name, f"Please choose one of {', '.join(choices)}.")
        else:
            self.found.values[name] = convert(value)

    def _whole(
        self, name: str, low: int, high: int, sentence: str, *, optional: bool = False
    ) -> None:
        value = self._value(name)
        if value in (None, "") and optional:
            self.found.values[name] = None
            return
        number = digits(value)
        if number is None or not low <= number <= high:
            self._wrong(name, sentence)
        else:
            self.found.values[name] = number

    # ------------------------------------------------------------ the fields

    def _driver(self) -> None:
        # Where pages and worker are separate processes, the worker alone may know the driver.
        kept = () if self.stored is None else (self.stored.driver,)
        self._choice("driver", dict.fromkeys((*DRIVERS, *kept)), str)

    def _caption(self) -> None:
        self._text("caption", 100, "Please enter a caption of 1 to 100 characters.")
        caption = self.found.values.get("caption", "")
        owner = self.captions.get(caption.casefold())
        if owner is not None and owner != (self.stored.id if self.stored else None):
            self._wrong(
                "caption", f"Another connection is called “{caption}”; choose another caption."
            )

    def _port(self) -> None:
        if self.given.get("port") in (None, "") and ("port" in self.given or self.stored is None):
            encryption = self.found.values.get("encryption", Encryption.STARTTLS)
            self.found.values["port"] = DEFAULT_PORTS[encryption]
        else:
            sentence = f"Please enter an SMTP port between 1 and {MAX_PORT}."
            self._whole("port", 1, MAX_PORT, sentence)

    def _sender_address(self) -> None:
        address = address_of(str(self._value("sender_address") or ""))
        if address is None:
            self._wrong(
                "sender_address",
                "Please enter the address that recipients see, mail@example.org for instance.",
            )
        else:
            self.found.values["sender_address"] = address

    def _flags(self) -> None:
        if "use_auth" in self.given or self.stored is not None:
            use_auth = bool(self._value("use_auth"))
        else:
            use_auth = bool(self.given.get("username"))
        self.found.values["use_auth"] = use_auth
        for name in ("allow_plain_auth", "enabled", "hands_over"):
            self.found.values[name] = bool(self._value(name))

    def _username(self) -> None:
        username = str(self._value("username") or "")
        if not self.found.values["use_auth"]:
            # It is not used, so nothing is asked of it but that it can be stored.
            self.found.values["username"] = username[:255] if not has_control(username) else ""
        elif self.config.account_policy == "email":
            if len(username) > 100 or not ACCOUNT_ADDRESS.fullmatch(username):
                self._wrong("username", "Please enter an SMTP account address in email format.")
            else:
                self.found.values["username"] = username
        else:
            self._text("username", 255, "Please enter a username of 1 to 255 characters.")

    def _password(self, required: bool) -> None:
        new = self.given["password"]
        if self.confirmed and new != self.given["confirm_password"]:
            self._wrong("confirm_password", passwords.UNEQUAL)
        if new:
            objection = passwords.objection(new, self.config.password_policy)
            if objection:
                self._wrong("password", objection)
            self.found.password = new
        elif self.given.get("clear_password"):
            self.found.forget_password = True
        elif self.stored is None:
            if required and self.found.values["use_auth"]:
                self._wrong("password", passwords.MISSING)
        elif self.stored.password_token is not None:
            self._forget_or_ask(self._leads_elsewhere(self.stored))

    def _forget_or_ask(self, changed: list[str]) -> None:
        if changed and self.found.values["use_auth"]:
            self._wrong("password", passwords.again(changed))
        elif changed:
            # Kept, it could be sent to the new server by switching authentication on again.
            self.found.forget_password = True

    def _leads_elsewhere(self, stored: Connection) -> list[str]:
        """Return what was changed of where the password goes, in words."""
        return [
            words
            for name, words in BOUND_TO_PASSWORD.items()
            if name in self.found.values
            and _comparable(self.found.values[name]) != _comparable(getattr(stored, name))
        ]

    def _certificate(self) -> None:
        text = str(self._value("ca_certificate") or "").strip()
        sentence = certificate_objection(text, self.now) if text else ""
        if sentence:
            self._wrong("ca_certificate", sentence)
        else:
            self.found.values["ca_certificate"] = text or None

    def _numbers(self) -> None:
        for name, (low, high, unit) in RANGES.items():
            sentence = f"Please enter a whole number{unit} from {low:,} to {high:,}."
            if name in OPTIONAL:
                sentence = sentence[:-1] + ", or nothing."
            self._whole(name, low, high, sentence, optional=name in OPTIONAL)

    def _fallback(self) -> None:
        value = self._value("fallback_id")
        number = digits(value)
        if value in (None, ""):
            self.found.values["fallback_id"] = None
        elif number is None or number not in self.ids:
            self._wrong("fallback_id", "That connection does not exist any more; choose another.")
        elif self.stored is not None and number == self.stored.id:
            self._wrong("fallback_id", "A connection cannot take over from itself; choose another.")
        else:
            self.found.values["fallback_id"] = number

    def _patterns(self) -> None:
        patterns = []
        for line in str(self._value("sender_patterns") or "").split():
            pattern = sender_pattern(line)
            if pattern is None:
                self._wrong(
                    "sender_patterns",
                    f"“{line}” is neither an address nor *@ and a domain; write one of them a line.",
                )
                return
            patterns.append(pattern)
        self.found.values["sender_patterns"] = "\n".join(patterns)


def _unknown(name: str) -> str:
    known = (*FIELDS, "password")
    near = get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(known)}."
    return f"A connection has no such field. {hint}"


def _comparable(value: Any) -> Any:
    """Return a value whose lines end in one way: a browser sends CRLF, code mostly LF."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value
