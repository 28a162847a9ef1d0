"""The configuration: every ``SMTP_ADMIN_*`` key, its type, default and meaning.

Owns reading and checking the keys. Must not know Flask's application object: it takes a mapping.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import redis_address
from .errors import ConfigurationError

PREFIX = "SMTP_ADMIN_"

DISPATCHERS = ("auto", "rq", "embedded", "inline", "none")
ACCOUNT_POLICIES = ("any", "email")
PASSWORD_POLICIES = ("any", "strict")


def _key(default: Any, meaning: str, *, secret: bool = False, **limits: Any) -> Any:
    """Return a field; a secret one is not shown when the configuration is printed or refused."""
    return field(
        default=default, repr=not secret, metadata={"meaning": meaning, "secret": secret, **limits}
    )


@dataclass(frozen=True)
class Config:
    """The checked values. The key of a field is ``SMTP_ADMIN_`` and its name in capitals."""

    redis_url: str | None = _key(
        None,
        "Address of the Redis (or Valkey) that wakes the workers: `redis://`, `rediss://` (TLS), "
        "`unix://` (a socket), or `redis+sentinel://` and `rediss+sentinel://`. "
        "Unset: the mail is delivered inside the application's process.",
        secret=True,
    )
    dispatch: str = _key(
        "auto",
        "Who delivers. `rq`: workers started with `flask smtp-admin worker`. `embedded`: a thread "
        "of the application. `inline`: the call that committed the message, before it returns. "
        "`none`: nobody in this process. `auto`: `none` while testing, `rq` with a Redis address, "
        "`inline` with an SQLite database in memory, otherwise `embedded`.",
        choices=DISPATCHERS,
    )
    queue_name: str = _key("smtp-admin", "Name of the RQ queue that carries the wake-ups.")
    sessions: int = _key(
        4, "How many SMTP sessions one worker keeps at most, over all connections.", low=1, high=200
    )
    database_uri: str | None = _key(
        None,
        "SQLAlchemy address of a database of the outbox's own, where a message is stored at once: "
        "it cannot share the caller's transaction. Unset: the application's Flask-SQLAlchemy, or "
        "an SQLite file in the instance folder where there is none.",
        secret=True,
    )
    bind_key: str | None = _key(
        None, "Flask-SQLAlchemy bind that holds the tables. Unset: the default bind."
    )
    keys: tuple[str, ...] = _key(
        (),
        "Secrets that stored passwords are encrypted with; the first encrypts and needs 16 "
        "characters, all decrypt. "
        "Empty: derived from `SECRET_KEY` and `SECRET_KEY_FALLBACKS`.",
        secret=True,
    )
    account_policy: str = _key(
        "any", "Which account names a connection may have.", choices=ACCOUNT_POLICIES
    )
    password_policy: str = _key(
        "any", "Which passwords a connection may have.", choices=PASSWORD_POLICIES
    )
    timezone: str = _key("UTC", "IANA name of the time zone in which the pages show times.")
    base_url: str | None = _key(
        None,
        "Address of the application as its users see it. It is named in test messages, and begins "
        "the links of later notices.",
    )
    capture_flask_mail: bool = _key(
        True, "Whether messages of a plain `flask_mail.Mail` go through the outbox."
    )
    max_message_bytes: int = _key(
        25 * 1024 * 1024, "Largest message that `send` takes, in bytes.", low=1024
    )
    max_attempts: int = _key(
        9, "How often a message is tried before it is given up.", low=1, high=100
    )
    automated_delay: int = _key(
        10, "Seconds that an automated message waits before it is sent.", low=0, high=86_400
    )
    allow_private_hosts: bool = _key(
        True, "Whether a connection may lead to a private or loopback address."
    )
    exit_seconds: int = _key(
        10,
        "Seconds that a process with the embedded dispatcher spends, when it ends, on delivering "
        "what is due.",
        low=0,
        high=600,
    )
    site_name: str = _key("", "Name shown on the pages. Empty: the name of the application.")
    logo_url: str | None = _key(None, "Address of a picture on the same site, shown on the pages.")
    accent_color: str = _key("", "CSS colour of links and buttons on the pages.")
    probe_token: str | None = _key(
        None,
        "Bearer token with which `/health` answers without a login. Unset: a login is needed.",
        secret=True,
    )

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the pages."""
        return ZoneInfo(self.timezone)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Config:
        """Read the ``SMTP_ADMIN_*`` keys of ``mapping``.

        :raises ConfigurationError: a key is unknown, or its value has the wrong type or is out of
            its limits; the message names the key and what it may be.
        """
        known = {PREFIX + f.name.upper(): f for f in dataclasses.fields(cls)}
        hints = typing.get_type_hints(cls)
        values: dict[str, Any] = {}
        for key in sorted(k for k in mapping if k.startswith(PREFIX)):
            if key not in known:
                raise ConfigurationError(_unknown(key, list(known)))
            spec = known[key]
            value = _convert(key, mapping[key], hints[spec.name], secret=spec.metadata["secret"])
            _check_limits(key, value, spec.metadata)
            values[spec.name] = value
        config = cls(**values)
        config._check_together()
        return config

    def _check_together(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigurationError(
                f"{PREFIX}TIMEZONE is {self.timezone!r}, which is no time zone of the IANA list; "
                "write a name such as 'Europe/Berlin'."
            ) from None
        if self.redis_url:
            try:
                redis_address.check(self.redis_url)
            except ValueError as error:
                raise ConfigurationError(f"{PREFIX}REDIS_URL {error}") from None
        if self.dispatch == "rq" and not self.redis_url:
            raise ConfigurationError(
                f"{PREFIX}DISPATCH is 'rq' but {PREFIX}REDIS_URL is not set; "
                "set it to the address of your Redis, for instance 'redis://localhost:6379/0'."
            )
        if self.database_uri and self.bind_key:
            raise ConfigurationError(
                f"{PREFIX}DATABASE_URI and {PREFIX}BIND_KEY exclude each other; keep one of them."
            )


def _unknown(key: str, known: list[str]) -> str:
    # Without the prefix, which would make all of them alike.
    names = [name.removeprefix(PREFIX) for name in known]
    close = difflib.get_close_matches(key.removeprefix(PREFIX), names, n=1)
    hint = f"Did you mean {PREFIX}{close[0]}?" if close else f"Known keys: {', '.join(known)}."
    return f"{key} is not a key of flask-smtp-admin. {hint}"


def _convert(key: str, value: Any, hint: Any, *, secret: bool) -> Any:
    """Return ``value`` as the type of its field; texts from the environment are understood."""
    options = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
    if value is None and type(None) in options:
        return None
    wanted = next(option for option in options if option is not type(None))
    if typing.get_origin(wanted) is tuple:
        return _texts(key, value)
    if wanted is bool and isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    if wanted is int and isinstance(value, str) and value.strip().isdigit():
        return int(value)
    if wanted is str and type(value) is int:
        return str(value)  # from_prefixed_env() reads what looks like a number as one
    if type(value) is wanted:
        return value
    found = f"a {type(value).__name__}" if secret else repr(value)
    raise ConfigurationError(f"{key} is {found}; it must be {_TYPE_NAMES[wanted]}.")


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) and v for v in value):
        # The value holds secrets, so it is not shown.
        raise ConfigurationError(f"{key} must be a list of texts that are not empty.")
    return tuple(value)


def _check_limits(key: str, value: Any, limits: Mapping[str, Any]) -> None:
    choices = limits.get("choices")
    if choices and value not in choices:
        raise ConfigurationError(f"{key} is {value!r}; it must be one of {', '.join(choices)}.")
    low, high = limits.get("low"), limits.get("high")
    if value is None or not isinstance(value, int):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigurationError(f"{key} is {value}; it must be {bounds}.")


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_TYPE_NAMES = {str: "a text", int: "a whole number", bool: "True or False"}
