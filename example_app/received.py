"""Reading what the local mail server took.

Owns listing and parsing the files in the mail folder. Must not know Flask.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesHeaderParser
from html import escape
from pathlib import Path

NAME = re.compile(r"\d{20}-\d+-\d+")
TEXT_SHOWN = 100_000
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Received:
    """One message in the mail folder."""

    name: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """The parsed message; parsed anew at each use, so keep it."""
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass(frozen=True)
class Attachment:
    """A part that came along."""

    filename: str
    content_type: str
    size: int


def names(folder: Path) -> list[str]:
    """Return the names of all messages, newest first."""
    return sorted((file.stem for file in folder.glob("*.eml")), reverse=True)


def read(folder: Path, name: str) -> Received | None:
    """Return a message, or ``None`` when there is none of that name."""
    if NAME.fullmatch(name) is None:
        return None
    try:
        return Received(name, (folder / f"{name}.eml").read_bytes())
    except FileNotFoundError:
        return None


def clear(folder: Path) -> int:
    """Delete all messages and return how many there were."""
    files = list(folder.glob("*.eml"))
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def headers(content: bytes) -> EmailMessage:
    """Return the headers alone, which is quick also for a large message."""
    parsed = BytesHeaderParser(policy=policy.default).parsebytes(content)
    assert isinstance(parsed, EmailMessage)
    return parsed


def header(message: EmailMessage, name: str) -> str:
    """Return a header as text, however damaged it is."""
    try:
        return str(message.get(name, ""))
    except (ValueError, IndexError, LookupError):
        return "(unreadable)"


def text(message: EmailMessage) -> str:
    """Return the plain text, or an empty one."""
    part = message.get_body(("plain",))
    return "" if part is None else _decoded(part)[:TEXT_SHOWN]


def has_html(message: EmailMessage) -> bool:
    """Tell whether there is an HTML part."""
    return message.get_body(("html",)) is not None


def html(message: EmailMessage) -> str:
    """Return the HTML part with its inline images put into it. It is not made harmless by that."""
    part = message.get_body(("html",))
    found = "" if part is None else _decoded(part)
    for content_id, image in _inline_images(message):
        found = re.sub(rf"cid:{re.escape(escape(content_id))}(?=[\"'\s)>])", image, found)
    return found


def attachments(message: EmailMessage) -> list[Attachment]:
    """Return what is attached, inline images left out."""
    return [
        Attachment(part.get_filename() or "(no name)", part.get_content_type(), _size(part))
        for part in message.iter_attachments()
        if part.get_content_disposition() != "inline"
    ]


def _inline_images(message: EmailMessage) -> Iterator[tuple[str, str]]:
    for part in message.walk():
        content_id = str(part.get("Content-ID", "")).strip().strip("<>")
        if content_id and part.get_content_maintype() == "image":
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            encoded = base64.b64encode(data).decode("ascii")
            yield content_id, f"data:{part.get_content_type()};base64,{encoded}"


def _decoded(part: MIMEPart) -> str:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    try:
        return data.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:  # a charset that nobody knows
        return data.decode("utf-8", "replace")


def _size(part: MIMEPart) -> int:
    data = part.get_payload(decode=True)
    return len(data) if isinstance(data, bytes) else 0
