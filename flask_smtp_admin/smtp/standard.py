"""Taking a message of the standard library apart: its headers as texts, its body as bytes.

Owns the reading of ``email.message`` objects, old and new. Works on a copy: the caller's object is
never changed. Must not decide which headers a message needs.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from email import policy
from email.generator import BytesGenerator
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from io import BytesIO

from flask_smtp_admin.errors import BadHeader, MessageError
from flask_smtp_admin.smtp.addresslist import decoded, read_list
from flask_smtp_admin.smtp.bodies import Body, encode_text
from flask_smtp_admin.smtp.bounds import check_fields
from flask_smtp_admin.smtp.headers import check_name
from flask_smtp_admin.smtp.mailaddress import MailAddress, read_address
from flask_smtp_admin.smtp.text import has_control

_ADDRESS_FIELDS = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc", "resent-bcc"})
_SINGLE_FIELDS = _ADDRESS_FIELDS | {"subject", "date", "message-id"}
# Written by us, or by whoever receives the message.
_DROPPED = frozenset({"return-path", "mime-version"})
_CONTENT_FIELDS = frozenset(
    {"content-type", "content-transfer-encoding", "content-disposition", "content-id"}
    | {"content-description", "content-language", "content-location", "content-md5"}
)

# A fold that RFC 5322 knows: a line end, white space, and then something on the same line.
_FOLD = re.compile(r"\r?\n(?=[ \t]+[^ \t\r\n])")
_EMPTY_GROUP = re.compile(r'[^<>@,;:"]*:\s*;')


class Taken:
    """The parts of a message: header texts (decoded, unfolded) and the encoded body."""

    def __init__(self, texts: list[tuple[str, str, str]], body: Body) -> None:
        self._texts = texts
        self.body = body
        self.undisclosed = any(
            name.lower() == "to" and _EMPTY_GROUP.fullmatch(raw.strip()) for name, raw, _ in texts
        )

    def _of(self, field: str) -> Iterator[tuple[str, str]]:
        return ((raw, text) for name, raw, text in self._texts if name.lower() == field)

    def text(self, field: str) -> str:
        """The text of *field*, ``""`` when there is none."""
        return next((text.strip() for _, text in self._of(field)), "")

    def date(self) -> datetime | None:
        """The Date field, None when it is missing.

        :raises BadHeader: when it is not a date.
        """
        text = self.text("date")
        if not text:
            return None
        try:
            return parsedate_to_datetime(text)
        except (ValueError, TypeError) as error:
            raise BadHeader(f"Date: {text!r} is not a date.") from error

    def addresses(self, field: str) -> list[MailAddress]:
        """The addresses of *field*, each of them valid.

        :raises BadAddress: for one that is not.
        """
        label = field.title()
        found: list[MailAddress] = []
        for raw, _ in self._of(field):
            if not raw.strip() or _EMPTY_GROUP.fullmatch(raw.strip()):
                continue
            found += [read_address(pair, label) for pair in read_list(raw, label)]
        return found

    def others(self) -> list[tuple[str, str]]:
        """Every other header, in order."""
        # A Sender stays in the message; as an address it is also the return path.
        ours = (_SINGLE_FIELDS - {"sender"}) | _DROPPED | _CONTENT_FIELDS
        return [(name, text) for name, _, text in self._texts if name.lower() not in ours]


def take_apart(message: Message) -> Taken:
    """*message* as texts and bytes.

    :raises MessageError: for a NUL byte in its body.
    :raises BadHeader: for a control character in any header of any part, and for a field that may
        be there once but is there twice, and for headers that are too long.
    """
    check_fields((name, str(value)) for part in message.walk() for name, value in part.raw_items())
    for part in message.walk():
        for name, value in part.raw_items():
            _checked(name, value)
        _refuse_twice(part, _CONTENT_FIELDS)
    _refuse_twice(message, _SINGLE_FIELDS)
    texts = [(name, *_texts(name, value)) for name, value in message.raw_items()]
    return Taken(texts, _body(message))


def _refuse_twice(part: Message, fields: Iterable[str]) -> None:
    names = [name.lower() for name, _ in part.raw_items()]
    for name in sorted(fields):
        if names.count(name) > 1:
            raise BadHeader(f"{name.title()}: it is there twice.")


def _checked(name: str, value: object) -> str:
    """The unfolded raw text of a header."""
    unfolded = _FOLD.sub("", str(value)).rstrip("\r\n")
    # A tab is white space in a header that came from elsewhere.
    if has_control(unfolded.replace("\t", " ")):
        raise BadHeader(f"{name}: {unfolded!r} holds a control character; remove it.")
    check_name(name)
    return unfolded.replace("\t", " ")


def _texts(name: str, value: object) -> tuple[str, str]:
    """A header as it was written and as it is read, with encoded-words decoded."""
    raw = _checked(name, value)
    if "=?" not in raw and raw.isascii():
        return raw, raw
    with contextlib.suppress(UnicodeError):
        # raw_items of a message that was read from bytes has its octets as surrogates.
        raw = raw.encode("ascii", "surrogateescape").decode()
    text = decoded(raw) if not hasattr(value, "fold") else raw
    if has_control(text):
        raise BadHeader(f"{name}: {text!r} holds a control character; remove it.")
    return raw, text


def _body(message: Message) -> Body:
    """The content headers of *message* and its bytes, with 8-bit texts encoded."""
    clone = copy.deepcopy(message)
    # What is signed has to stay as it is, octet by octet.
    if not any(part.get_content_type() == "multipart/signed" for part in clone.walk()):
        for part in clone.walk():
            _encode_eight_bit(part)
    for name in {name for name, _ in clone.raw_items() if name.lower() not in _CONTENT_FIELDS}:
        del clone[name]
    base = policy.SMTP if isinstance(message, EmailMessage) else policy.compat32
    out = BytesIO()
    generator = BytesGenerator(out, mangle_from_=False, policy=base.clone(linesep="\r\n"))
    generator.flatten(clone)
    written = out.getvalue()
    if b"\0" in written:
        # RFC 5321 section 2.3.1 and RFC 2045 section 2.8: in no text, encoded as 7bit or 8bit.
        raise MessageError(
            "The body holds a NUL byte where no transfer encoding was applied; remove it, or "
            "attach the part in base64."
        )
    return _divided(written)


def _divided(written: bytes) -> Body:
    """The head and the data of a flattened message whose only headers are those of its content.

    :raises BadHeader: for any other header.
    """
    if written.startswith(b"\r\n"):
        # No header at all, and so the first empty line is not one between paragraphs.
        return Body([], written[2:])
    head, _, data = written.partition(b"\r\n\r\n")
    fields: list[tuple[str, str]] = []
    for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
        if line[:1] in {" ", "\t"} and fields:
            fields[-1] = (fields[-1][0], f"{fields[-1][1]}\r\n{line}")
        elif line:
            name, _, value = line.partition(":")
            fields.append((name, value.lstrip(" \t")))
    for name, _ in fields:
        if name.lower() not in _CONTENT_FIELDS:
            raise BadHeader(f"{name}: it is not a header of the message's content.")
    return Body(fields, data)


def _encode_eight_bit(part: Message) -> None:
    """Give a part with octets above 127 a transfer encoding.

    Not left to the generator (``cte_type="7bit"``): it goes by the encoding that is registered for
    the character set, which Flask-Mail switches off for UTF-8 in the whole process.
    """
    payload = part.get_payload()
    if not isinstance(payload, str) or payload.isascii():
        return
    try:
        data = payload.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:  # text, not octets that were read
        data = payload.encode(part.get_content_charset() or "utf-8")
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    encoding, encoded = encode_text(lines if lines.endswith(b"\r\n") else lines + b"\r\n")
    part.set_payload(encoded.decode("ascii").replace("\r\n", "\n"))
    del part["Content-Transfer-Encoding"]
    part["Content-Transfer-Encoding"] = encoding
