"""Freezing a message: from what the caller wrote to the bytes that every attempt will send.

Owns the rules for addresses, headers and structure. Must know neither database nor Flask, and no
clock: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from typing import Literal

Address = str | tuple[str, str]
RecipientKind = Literal["to", "cc", "bcc"]

MAX_BYTES = 25 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """An attachment, or with a ``content_id`` an inline part of the HTML.

    ``content_id`` may be given with or without angle brackets. ``headers`` are extra headers of
    the part.
    """

    filename: str | None
    content_type: str
    data: bytes
    disposition: str = "attachment"
    content_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A message before it is frozen. An address is ``"a@b"``, ``"Name <a@b>"`` or ``(name, address)``.

    ``alternatives`` are further forms of the text: (media type, content), the richest last.
    ``envelope_from`` is the return path when it is not the sender's address.
    """

    subject: str = ""
    sender: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: Address | tuple[Address, ...] | None = None
    text: str | None = None
    html: str | None = None
    alternatives: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Part, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    date: datetime | None = None
    message_id: str | None = None
    envelope_from: str | None = None


@dataclass(frozen=True)
class FrozenRecipient:
    """One envelope recipient: ``address`` with an A-label domain, and the name it was given."""

    address: str
    kind: RecipientKind
    name: str = ""


@dataclass(frozen=True)
class FrozenMessage:
    """A message as every attempt will send it; nothing of it changes any more.

    ``content`` has CRLF line ends and no Bcc. ``sender`` is the envelope's. ``automated``: it
    carries an ``Auto-Submitted`` header other than ``no`` (RFC 3834).
    """

    message_id: str
    date: datetime
    content: bytes
    sender: str
    from_header: str
    reply_to: str
    subject: str
    recipients: tuple[FrozenRecipient, ...]
    smtputf8: bool
    eight_bit: bool
    automated: bool

    @property
    def size(self) -> int:
        """Octets of the content."""
        return len(self.content)


def freeze(
    message: Draft | Message,
    *,
    now: datetime,
    max_bytes: int = MAX_BYTES,
    default_sender: Address | None = None,
) -> FrozenMessage:
    """Make the bytes, the envelope and the facts of *message*, which is not changed.

    *now* (aware) is the date of a message that has none.

    :raises NoRecipients: when To, Cc and Bcc are empty.
    :raises BadHeader: for a control character, or a header that would not be read back as meant.
    :raises BadAddress: for an address that no server would take.
    :raises MessageTooLarge: above *max_bytes*.
    :raises MessageError: without a sender and a *default_sender*.
    """
    raise NotImplementedError
