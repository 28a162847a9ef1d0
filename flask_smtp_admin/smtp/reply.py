"""The words of the protocol: what a server replied, at which stage, and the form of a verdict.

Owns :class:`Stage`, :class:`Reply`, :class:`Scope`, :class:`Outcome` and :class:`Verdict`. Pure: it
must not know sockets, clocks, settings or messages. Replies are judged in
:mod:`flask_smtp_admin.smtp.judging`, failures without a reply in
:mod:`flask_smtp_admin.smtp.failure`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache

from flask_smtp_admin.smtp.text import visible


class Stage(str, Enum):
    """The steps of a session and a transaction, in the order in which they are met.

    With implicit TLS the handshake comes before the greeting. ``BODY`` is the bytes of the
    message, the final dot and the reply to it.
    """

    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    QUIT = "quit"

    @property
    def label(self) -> str:
        """How a page and a sentence call the stage."""
        return _STAGE_LABELS[self]


_STAGE_LABELS = {
    Stage.RESOLVE: "name lookup",
    Stage.CONNECT: "connect",
    Stage.GREETING: "greeting",
    Stage.EHLO: "EHLO",
    Stage.TLS: "TLS",
    Stage.AUTH: "login",
    Stage.MAIL: "MAIL FROM",
    Stage.RCPT: "RCPT TO",
    Stage.DATA: "DATA",
    Stage.BODY: "message",
    Stage.QUIT: "QUIT",
}


class Scope(str, Enum):
    """Whom a verdict is about, and so who pays for it.

    ``CONNECTION``: mail waits and spends no attempt. ``RECIPIENT``: this recipient alone.
    ``MESSAGE``: this message, for all recipients of the transaction.
    """

    CONNECTION = "connection"
    RECIPIENT = "recipient"
    MESSAGE = "message"


class Outcome(str, Enum):
    """Accepted, worth another try, or not worth one."""

    ACCEPTED = "accepted"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


# Stands for a secret wherever one would be kept or shown.
BLANK = "********"


def blanked(text: str, secrets: Sequence[str]) -> str:
    """*text* with each of *secrets*, the longest first, blanked."""
    for secret in secrets:
        text = text.replace(secret, BLANK)
    return text


# Characters that a line counts for itself: a reply may be made of thousands of empty ones.
_LINE_COST = 8

_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]|$)")


@dataclass(frozen=True)
class Reply:
    """One reply: its three-digit code and the text of its lines (code and separator removed).

    The lines are made visible and harmless by :meth:`from_wire`: every word of a server is an
    attacker's word.
    """

    code: int
    lines: tuple[str, ...]

    @classmethod
    def from_wire(cls, code: int, lines: list[bytes]) -> Reply:
        r"""Decode the text of *lines* (UTF-8, anything else as ``\xNN``)."""
        if len(lines) == 1:
            return _of_one_line(code, lines[0])
        return cls(code, tuple(visible(line) for line in lines))

    def without(self, secrets: Sequence[str]) -> Reply:
        """The reply with each of *secrets* blanked, for a server that repeats them to us."""
        if not secrets:
            return self
        return Reply(self.code, tuple(blanked(line, secrets) for line in self.lines))

    def shortened(self, characters: int) -> Reply:
        """The reply, or its beginning when it is longer; a line counts a few characters itself."""
        kept: list[str] = []
        left = characters
        for line in self.lines:
            if left <= 0:
                return Reply(self.code, (*kept, "…"))
            kept.append(line if len(line) <= left else line[:left] + "…")
            left -= len(line) + _LINE_COST
        return Reply(self.code, tuple(kept)) if left < 0 else self

    @cached_property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 3463), when its class agrees with the reply code."""
        found = _ENHANCED.match(self.lines[0]) if self.lines else None
        if found is None or int(found[1][0]) != self.first_digit:
            return None
        return found[1]

    @property
    def first_digit(self) -> int:
        """What RFC 5321 section 4.2.1 lets a client decide by."""
        return self.code // 100

    @cached_property
    def text(self) -> str:
        """The words of the reply in one line, without a repeated enhanced code."""
        enhanced = self.enhanced
        if enhanced is None:
            return " ".join(self.lines).strip()
        words = (line.removeprefix(enhanced).strip() for line in self.lines)
        return " ".join([enhanced, *words]).rstrip()

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


# Servers say the same few things all day.
@lru_cache(maxsize=256)
def _of_one_line(code: int, line: bytes) -> Reply:
    return Reply(code, (visible(line),))


@dataclass(frozen=True)
class Verdict:
    """What a reply or a failure means for the mail. Decide by ``scope`` first, then ``outcome``.

    ``summary`` is a plain sentence for an administrator, ``advice`` says what to change and may
    be empty. The flags:

    * ``quota``: the server limits us; pause the connection.
    * ``opens_breaker``: the login was refused; do not repeat it until something has changed.
    * ``uncertain``: the final dot was written and no usable reply came back; the message may
      have been accepted.
    * ``reconnect``: the session is of no further use, a new one may be.
    * ``next_transaction``: not now, but at once in another transaction (too many recipients).
    """

    outcome: Outcome
    scope: Scope
    stage: Stage
    summary: str
    advice: str = ""
    quota: bool = False
    opens_breaker: bool = False
    uncertain: bool = False
    reconnect: bool = False
    next_transaction: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the server took it."""
        return self.outcome is Outcome.ACCEPTED
