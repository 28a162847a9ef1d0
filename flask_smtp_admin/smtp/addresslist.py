"""Reading the list of addresses in a header of a standard message.

Owns the taking apart of such a list into names and addresses. Must not judge the addresses
themselves. The standard library's parser takes quadratic time and deep recursion, so that it only
gets what is short; lists as they are commonly written are read here, in linear time.
"""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader, HeaderRegistry
from typing import cast

from flask_smtp_admin.errors import BadAddress, BadHeader

# Characters of a list that is not plain: one with comments, groups or escapes.
MAX_ODD = 2048

_WORD = r'[^\s<>()\[\]:;@\\,."]+'
_SPEC = r'[^\s<>()\[\]:;@\\,"]+@[^\s<>():;@\\,"]+'
_PLAIN = re.compile(
    rf"\s*(?:(?:(?P<name>{_WORD}(?: {_WORD})*) ?"
    r'|"(?P<quoted>[^\s"\\]+(?: [^\s"\\]+)*)" ?)?'
    rf"<(?P<inner>{_SPEC})>|(?P<bare>{_SPEC}))\s*(?:,|$)"
)
_ENCODED = re.compile(r"=\?[^\s?]+\?[bqBQ]\?[^\s?]*\?=")

_registry = HeaderRegistry()


def read_list(raw: str, label: str) -> list[tuple[str, str]]:
    """(display name, address) of each address in *raw*, the decoded text of the header *label*.

    :raises BadAddress: when it is not a list of addresses, or one too long to be anything but
        plain.
    :raises BadHeader: for a name encoded in a way that cannot be read.
    """
    plain = _read_plain(raw)
    if plain is not None:
        return plain
    if len(raw) > MAX_ODD:
        raise BadAddress(
            f"{label}: it is not a plain list of addresses (Name <address>, Name <address>, …); "
            f"one with comments, groups or escapes may have {MAX_ODD:,} characters and this has "
            f"{len(raw):,}."
        )
    try:
        # The registry makes the class up at run time, out of AddressHeader and its base.
        parsed = cast("AddressHeader", _registry("To", raw)).addresses
        found = [(one.display_name, one.addr_spec) for one in parsed]
    # What the parser trips over: nesting, empty remainders, texts that cannot be encoded.
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise BadAddress(f"{label}: {raw[:200]!r} cannot be read as addresses.") from error
    if not found:
        raise BadAddress(f"{label}: {raw[:200]!r} is not an address.")
    return found


def _read_plain(raw: str) -> list[tuple[str, str]] | None:
    """*raw* when all of it is plain, else None."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(raw):
        match = _PLAIN.match(raw, position)
        if match is None:
            return None
        name = match["name"] or match["quoted"] or ""
        if "=?" in name:
            if match["quoted"] or not all(map(_ENCODED.fullmatch, name.split(" "))):
                return None
            name = decoded(name)
        found.append((name, match["inner"] or match["bare"]))
        position = match.end()
    return found or None


def decoded(raw: str) -> str:
    """*raw* with its encoded-words (RFC 2047) decoded.

    :raises BadHeader: when one cannot be.
    """
    try:
        return str(make_header(decode_header(raw)))
    except (LookupError, UnicodeError, ValueError) as error:
        raise BadHeader(f"{raw[:200]!r} is encoded in a way that cannot be read.") from error
