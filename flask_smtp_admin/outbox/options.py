"""How a message is to be sent: the options of ``send``, checked.

Owns their rules. Must not know the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..errors import MessageError
from ..models import Priority
from ..smtp.text import has_control

KEY_LENGTH = 200
MOST_TRIES = 100
"""Of one message, whoever sets their number."""
FURTHEST = timedelta(days=36_525)
"""How far ahead a message may be due or expire: a hundred years."""


@dataclass(frozen=True)
class SendOptions:
    """How a message is to be sent; see :meth:`flask_smtp_admin.SMTPAdmin.send` for the meanings.

    :raises MessageError: a value is impossible, or two exclude each other.
    """

    connection: str | int | None = None
    priority: str = "normal"
    delay: timedelta | float | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    automated: bool | None = None
    sensitive: bool = False
    at_most_once: bool = False
    max_attempts: int | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if self.priority not in Priority.BY_NAME:
            known = ", ".join(repr(name) for name in Priority.BY_NAME)
            raise MessageError(f"priority is {self.priority!r}; it must be one of {known}.")
        if self.delay is not None and self.send_at is not None:
            raise MessageError("Give either delay or send_at, not both.")
        for name in ("send_at", "expires_at"):
            _check_time(name, getattr(self, name))
        if self.max_attempts is not None:
            _check_tries(self.max_attempts)
        if self.idempotency_key is not None:
            _check_key(self.idempotency_key)
        if self._delay() < timedelta():
            raise MessageError(f"delay is {self.delay!r}; it must not be negative.")

    def _delay(self) -> timedelta:
        delay = self.delay or 0
        try:
            return delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
        except (TypeError, ValueError, OverflowError):
            raise MessageError(
                f"delay is {delay!r}; it must be a timedelta, or a number of seconds."
            ) from None

    def due_at(self, now: datetime, automated: bool, automated_delay: int) -> datetime:
        """Return when the message leaves at the earliest.

        :raises MessageError: it would expire before, or a time is too far away.
        """
        for name in ("send_at", "expires_at"):
            _check_reach(name, getattr(self, name), now)
        if self.send_at is not None:
            due_at = max(self.send_at, now)
        elif self.delay is not None:
            due_at = _later(now, self._delay())
            _check_reach("delay", due_at, now)
        else:
            due_at = now + timedelta(seconds=automated_delay if automated else 0)
        if self.expires_at is not None and self.expires_at <= due_at:
            raise MessageError(
                f"The message would expire at {self.expires_at.isoformat()}, before it is due at "
                f"{due_at.isoformat()}."
            )
        return due_at


def _check_time(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, datetime):
        raise MessageError(f"{name} is {value!r}; it must be an aware datetime.")
    if value.utcoffset() is None:
        raise MessageError(
            f"{name} has no time zone; pass an aware datetime, for instance "
            "datetime.now(timezone.utc)."
        )


def _check_reach(name: str, value: datetime | None, now: datetime) -> None:
    """Refuse a time of another age: it is a mistake, and calendars end with the year 9999."""
    if value is not None and value > now + FURTHEST:
        hint = " Leave it out if the message is not to expire." if name == "expires_at" else ""
        raise MessageError(
            f"{name} leads to {value.isoformat()}, which is more than a hundred years away; give an "
            f"earlier time.{hint}"
        )


def _check_tries(number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_TRIES:
        raise MessageError(
            f"max_attempts is {number!r}; it must be a whole number from 1 to {MOST_TRIES}, or None "
            "for as many as the connection has."
        )


def _check_key(key: object) -> None:
    # Databases differ on white space at the end of a text, and on control characters anywhere.
    if not isinstance(key, str) or not 1 <= len(key) <= KEY_LENGTH:
        raise MessageError(f"idempotency_key must be a text of 1 to {KEY_LENGTH} characters.")
    if key != key.strip() or has_control(key):
        raise MessageError(
            "idempotency_key must not begin or end with white space, nor hold a control character."
        )


def _later(now: datetime, delay: timedelta) -> datetime:
    try:
        return now + delay
    except OverflowError:
        raise MessageError(f"delay is {delay!r}, which no calendar reaches.") from None
