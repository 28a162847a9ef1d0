"""Writing header fields so that every reader reads back what was meant.

Owns encoding (RFC 2047, RFC 2231), folding and the refusal of control characters. Must not know
which headers a message has.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import format_datetime

from flask_smtp_admin.errors import BadHeader
from flask_smtp_admin.smtp.mailaddress import MailAddress
from flask_smtp_admin.smtp.text import has_control

# RFC 5322 section 2.1.1: should be at most 78 characters, must be at most 998.
FOLD_AT = 78
MAX_LINE = 998

_NAME = re.compile(r"[!-9;-~]{1,76}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_NEEDS_ESCAPE = re.compile(r'(["\\])')
_TOKEN_VALUE = re.compile(r"[A-Za-z0-9!#$&+^_`{|}~.-]{1,60}")
_RFC2231_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# The characters that may stand for themselves in an encoded-word anywhere (RFC 2047 section 5).
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = {byte: chr(byte) if byte in _Q_SAFE else f"={byte:02X}" for byte in range(256)}
_Q[0x20] = "_"


def check_name(name: object) -> str:
    """*name* when it can be a field name.

    :raises BadHeader: otherwise.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadHeader(f"{name!r} is not a header name.")
    return name


def check_text(name: str, value: object) -> str:
    """*value* without white space around it.

    :raises BadHeader: when it is no text, or holds a control character.
    """
    if not isinstance(value, str):
        raise BadHeader(f"{name}: {value!r} is not a text.")
    if has_control(value):
        raise BadHeader(f"{name}: {value!r} holds a control character; remove it.")
    return value.strip()


def unstructured(name: str, value: str, *, utf8: bool = False) -> str:
    """The body of a field of free text, folded; *utf8* leaves it unencoded (RFC 6532)."""
    value = check_text(name, value)
    # "=?" would be decoded by the reader: it has to be encoded itself to be read as it is.
    if (utf8 or value.isascii()) and "=?" not in value:
        if len(name) + 2 + len(value) <= FOLD_AT:
            return value
        folded = _fold(value.split(" "), len(name) + 2, " ")
        if folded is not None:
            return folded
    return _encoded_words(value, len(name) + 2)


def _fold(words: list[str], column: int, glue: str) -> str | None:
    """*words* joined by *glue*, broken where it gets too long; None when a line stays too long."""
    if "" in words and column + sum(map(len, words)) + len(words) > FOLD_AT:
        return None  # a run of spaces might end up alone on a line
    lines = [words[0]]
    for word in words[1:]:
        start = column if len(lines) == 1 else 1
        if start + len(lines[-1]) + len(glue) + len(word) > FOLD_AT:
            lines[-1] += glue.rstrip(" ")
            lines.append(word)
        else:
            lines[-1] += glue + word
    if any(len(line.encode()) + column > MAX_LINE for line in lines):
        return None
    return "\r\n ".join(lines)


def _encoded_words(text: str, column: int) -> str:
    """*text* in encoded-words of at most 75 characters, one a line (RFC 2047 section 2)."""
    data = text.encode()
    plain = sum(byte in _Q_SAFE for byte in data)
    encode = _q if plain * 3 >= len(data) * 2 else _b
    words: list[str] = []
    chunk, room = "", max(20, 75 - column)
    for character in text:
        if chunk and len(encode(chunk + character)) > room:
            words.append(encode(chunk))
            chunk, room = "", 75
        chunk += character
    words.append(encode(chunk))
    return "\r\n ".join(words)


def _q(text: str) -> str:
    return f"=?utf-8?q?{''.join(map(_Q.__getitem__, text.encode()))}?="


def _b(text: str) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(text.encode(), newline=False).decode()}?="


def phrase(name: str, *, utf8: bool = False) -> str:
    """A display name: as it is, in quotes, or encoded."""
    if "=?" not in name and len(name) < 200 and (utf8 or name.isascii()):
        if _ATOMS.fullmatch(name):
            return name
        return '"' + _NEEDS_ESCAPE.sub(r"\\\1", name) + '"'
    return _encoded_words(name, 8)


def address_list(name: str, addresses: Iterable[MailAddress], *, utf8: bool = False) -> str:
    """The body of a field of addresses, folded between them."""
    written = [
        f"{phrase(address.name, utf8=utf8)} <{address.spec}>" if address.name else address.spec
        for address in addresses
    ]
    lines = [written[0]]
    for text in written[1:]:
        if len(name) + len(lines[-1]) + len(text) + 4 > FOLD_AT:
            lines[-1] += ","
            lines.append(text)
        else:
            lines[-1] += f", {text}"
    return "\r\n ".join(lines)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_time(date: datetime) -> str:
    """The body of a Date field; *date* is aware."""
    if date.tzinfo is not timezone.utc:
        return format_datetime(date)
    # Nearly every message is dated by our own clock; ``strftime`` alone takes longer than this.
    return (
        f"{_DAYS[date.weekday()]}, {date.day:02} {_MONTHS[date.month - 1]} {date.year:04} "
        f"{date.hour:02}:{date.minute:02}:{date.second:02} +0000"
    )


def parameter(field: str, key: str, value: str) -> str:
    """``; key=value`` of a structured field, in quotes, or as RFC 2231 says for what is not ASCII.

    :raises BadHeader: for a control character.
    """
    check_text(field, value)
    if _TOKEN_VALUE.fullmatch(value):
        return f'; {key}="{value}"'
    if value.isascii() and len(value) <= 60 and "=?" not in value:
        return f';\r\n {key}="' + _NEEDS_ESCAPE.sub(r"\\\1", value) + '"'
    quoted = "".join(
        chr(byte) if byte in _RFC2231_SAFE else f"%{byte:02X}" for byte in value.encode()
    )
    if len(quoted) <= 60:
        return f";\r\n {key}*=utf-8''{quoted}"
    return _continued(key, quoted)


def _continued(key: str, quoted: str) -> str:
    """RFC 2231 section 3; an octet's three characters are never torn apart."""
    pieces = re.findall(r"(?:%..|[^%]){1,20}", quoted)
    first = f";\r\n {key}*0*=utf-8''{pieces[0]}"
    rest = (f";\r\n {key}*{number}*={piece}" for number, piece in enumerate(pieces[1:], 1))
    return first + "".join(rest)
