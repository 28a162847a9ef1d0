"""Logging in: which mechanism, and its exchange (RFC 4954, 4616, 2195, Google's XOAUTH2).

Owns what is written at the AUTH stage and how it is blanked. Must not touch the socket: it gives
the session what to write and gets the server's challenges.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Generator, Iterator
from typing import NamedTuple

from flask_smtp_admin.smtp.failure import Failure, FailureMet
from flask_smtp_admin.smtp.reply import BLANK
from flask_smtp_admin.smtp.settings import Endpoint
from flask_smtp_admin.smtp.text import escape

# What gives the password, or a token as good as one, to whoever listens.
_TELLING = frozenset({"PLAIN", "LOGIN", "XOAUTH2"})

# Characters that a secret has at least to be blanked wherever it is found.
MIN_SECRET = 4
# What EHLO replies are made of; to blank it would be to misread them.
_PROTOCOL = (
    *("8BITMIME", "AUTH", "BINARYMIME", "CHUNKING", "CRAM-MD5", "DELIVERBY", "DSN", "HELP"),
    *("ENHANCEDSTATUSCODES", "LOGIN", "PIPELINING", "PLAIN", "REQUIRETLS", "SIZE", "SMTPUTF8"),
    *("STARTTLS", "XOAUTH2"),
)


class Say(NamedTuple):
    """What to write at a turn, and what of it the dialogue may show."""

    data: str
    shown: str


def offered_mechanisms(extensions: dict[str, str]) -> tuple[str, ...]:
    """The mechanisms of the EHLO reply, in upper case."""
    return tuple(extensions.get("AUTH", "").upper().split())


def choose(endpoint: Endpoint, offered: tuple[str, ...], *, encrypted: bool) -> str:
    """The one mechanism to try.

    :raises FailureMet: when none is offered, none fits, or it would tell the password to the wire.
    """
    if not offered:
        raise FailureMet(Failure.AUTH_NOT_OFFERED)
    if endpoint.auth_mechanism != "auto":
        wanted: tuple[str, ...] = (endpoint.auth_mechanism,)
    elif encrypted:
        wanted = ("PLAIN", "LOGIN", "CRAM-MD5")
    else:
        wanted = ("CRAM-MD5", "PLAIN", "LOGIN")
    common = [mechanism for mechanism in wanted if mechanism in offered]
    if not common:
        raise FailureMet(Failure.AUTH_NO_COMMON_MECHANISM, f"offered: {', '.join(offered)}")
    for mechanism in common:
        if encrypted or endpoint.allow_plain_auth or mechanism not in _TELLING:
            return mechanism
    raise FailureMet(Failure.AUTH_IN_CLEAR, f"offered: {', '.join(offered)}")


def exchange(mechanism: str, username: str, password: str) -> Generator[Say, str, None]:
    """The client's turns: yields what to write, is sent each 334 challenge (still base64)."""
    if mechanism == "PLAIN":
        token = _encode(f"\0{username}\0{password}")
        yield Say(f"AUTH PLAIN {token}", f"AUTH PLAIN {BLANK}")
        yield Say(token, BLANK)  # for a server that overlooks the initial response
    elif mechanism == "LOGIN":
        yield Say("AUTH LOGIN", "AUTH LOGIN")
        yield Say(_encode(username), BLANK)
        yield Say(_encode(password), BLANK)
    elif mechanism == "CRAM-MD5":
        challenge = yield Say("AUTH CRAM-MD5", "AUTH CRAM-MD5")
        digest = hmac.new(password.encode(), _decode(challenge), "md5").hexdigest()
        yield Say(_encode(f"{username} {digest}"), BLANK)
    else:
        token = _encode(f"user={username}\1auth=Bearer {password}\1\1")
        yield Say(f"AUTH XOAUTH2 {token}", f"AUTH XOAUTH2 {BLANK}")
        # A challenge here is the error in JSON; the empty answer asks for the final reply.
        yield Say("", "")


def secrets_of(username: str, password: str) -> tuple[str, ...]:
    """The forms of the password that a reply might repeat, the longest first.

    A password of fewer than ``MIN_SECRET`` characters is hidden in its encoded forms only: the
    shorter it is, the more often it is just a part of a word. The same goes for a password that
    is part of a word of the protocol, without which no session could be had.
    """
    if not password:
        return ()
    secrets = {
        _encode(password),
        _encode(f"\0{username}\0{password}"),
        _encode(f"user={username}\1auth=Bearer {password}\1\1"),
    }
    if len(password) >= MIN_SECRET and not any(password in word for word in _PROTOCOL):
        secrets |= {password, escape(password), *_within_base64(password)}
    return tuple(sorted((s for s in secrets if len(s) >= MIN_SECRET), key=len, reverse=True))


def _within_base64(secret: str) -> Iterator[str]:
    """How *secret* looks in the base64 of a longer text, for each place it may begin at."""
    data = secret.encode()
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * offset + data).decode("ascii")
        yield encoded[skipped : (offset + len(data)) * 8 // 6]


def decoded_error(challenge: str) -> str:
    """The words in an XOAUTH2 error challenge; the challenge itself when it is not base64."""
    try:
        return base64.b64decode(challenge, validate=True).decode("utf-8", "replace")
    except ValueError:  # binascii.Error is one; characters beyond ASCII raise it itself
        return challenge


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _decode(challenge: str) -> bytes:
    try:
        return base64.b64decode(challenge, validate=True)
    except ValueError as error:  # as above
        raise FailureMet(Failure.NONSENSE, "a challenge that is not base64") from error
