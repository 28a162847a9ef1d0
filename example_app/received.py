"""Reading what the local mail server took.

Owns listing and parsing the files in the mail folder. Must not know Flask.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.parser import BytesHeaderParser
from email.policy import EmailPolicy
from html import escape
from pathlib import Path
from typing import Any

NAME = re.compile(r"\d{20}-\d+-\d+")
TEXT_SHOWN = 100_000
"""Characters of a text that are shown."""
STAND_INS = {
    "content-type": "text/plain",
    "content-disposition": "inline",
    "content-transfer-encoding": "8bit",
}
"""Headers that say how to read a part, and what is assumed where they are damaged."""


class _LenientPolicy(EmailPolicy):
    """Gives a header that the standard library cannot read as it arrived."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Parse a header; what a stranger wrote may break the parser in any way it likes."""
        try:
            return super().header_fetch_parse(name, value)
        except Exception:  # noqa: BLE001  (ValueError, IndexError, RecursionError, by version)
            stand_in = STAND_INS.get(name.lower())
            return _shown(value) if stand_in is None else self.header_factory(name, stand_in)


LENIENT = _LenientPolicy()


@dataclass(frozen=True)
class Received:
    """One message in the mail folder."""

    name: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """The parsed message; parsed anew at each use, so keep it."""
        try:
            parsed = message_from_bytes(self.content, policy=LENIENT)
        except RecursionError:  # parts in parts in parts
            return headers(self.content)
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
    parsed = BytesHeaderParser(policy=LENIENT).parsebytes(content)
    assert isinstance(parsed, EmailMessage)
    return parsed


def header(message: EmailMessage, name: str) -> str:
    """Return a header as text; a damaged one as it arrived."""
    return _shown(str(message.get(name, "")))


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
        address = re.compile(rf"cid:{re.escape(escape(content_id))}(?=[\"'\s)>])")
        found = address.sub(lambda _match, image=image: image, found)  # type: ignore[misc]
    return found


def attachments(message: EmailMessage) -> list[Attachment]:
    """Return what is attached, inline images left out."""
    return [
        Attachment(_shown(part.get_filename() or "(no name)"), part.get_content_type(), _size(part))
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
        return _shown(data.decode(part.get_content_charset() or "utf-8", "replace"))
    except (LookupError, ValueError):  # a charset that nobody knows, or that is for names only
        return data.decode("utf-8", "replace")


def _shown(text: str) -> str:
    """Return a text that can be encoded: lone surrogates, and bytes in their guise, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _size(part: MIMEPart) -> int:
    data = part.get_payload(decode=True)
    return len(data) if isinstance(data, bytes) else 0
