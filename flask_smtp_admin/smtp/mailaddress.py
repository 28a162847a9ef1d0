"""Mail addresses: reading one as a person writes it, and refusing what is not one.

Owns the form of an address. Must not know messages. The rules are narrower than RFC 5321 on
purpose: a quoted local part, a comment or a route has no use today but to confuse a parser.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

import idna

from flask_smtp_admin.errors import BadAddress, BadHeader
from flask_smtp_admin.smtp.bounds import MAX_HEADER, MAX_NAME, check_length
from flask_smtp_admin.smtp.text import has_control

Address = str | tuple[str, str]

# RFC 5322 section 3.2.3 and RFC 6531 section 3.3: all but white space, controls and what has a
# meaning in a header. Told by what it is not, as a class with a million members takes ms to compile.
_ATEXT = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f-\xa0]'
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# What has a meaning of its own in an address list, and so needs quotes in a name.
_STRUCTURAL = re.compile(r'[<>@,;:"\\]')
_SPACE = re.compile(r"\s")

# RFC 5321 section 4.5.3.1, in octets; 254 is what a path of 256 leaves without its brackets.
_MAX_LOCAL, _MAX_ADDRESS = 64, 254


class MailAddress(NamedTuple):
    """A name and an address whose domain is in A-labels."""

    name: str
    local: str
    domain: str

    @property
    def spec(self) -> str:
        """``local@domain``."""
        return f"{self.local}@{self.domain}"

    @property
    def key(self) -> str:
        """What two spellings of one address have in common: only the domain ignores case."""
        return f"{self.local}@{self.domain.lower()}"

    def __str__(self) -> str:
        if not self.name:
            return self.spec
        plain = _STRUCTURAL.search(self.name) is None
        name = self.name if plain else '"' + re.sub(r'(["\\])', r"\\\1", self.name) + '"'
        return f"{name} <{self.spec}>"


def read_address(given: Address, field: str) -> MailAddress:
    """*given* as a :class:`MailAddress`; *field* is what an error calls the place it is from.

    :raises BadHeader: for a control character.
    :raises BadAddress: for anything else that is not one address.
    """
    if isinstance(given, str):
        check_length(field, given, MAX_HEADER)
        _refuse_control(given, field)
        name, spec = _split(given, field)
    else:
        name, spec = _pair(given, field)
    check_length(f"{field} (the name)", name, MAX_NAME)
    local, domain = read_spec(spec, field)
    return MailAddress(name, local, domain)


def _pair(given: object, field: str) -> tuple[str, str]:
    if not isinstance(given, tuple) or len(given) != 2:
        raise BadAddress(f"{field}: {given!r} is not an address; give a text or (name, address).")
    name, spec = given[0] or "", given[1]
    check_length(f"{field} (the name)", name, MAX_NAME)
    check_length(field, spec, MAX_HEADER)
    _refuse_control(name, field)
    _refuse_control(spec, field)
    return name.strip(), spec.strip(" ")


def _refuse_control(text: object, field: str) -> None:
    if not isinstance(text, str):
        raise BadAddress(f"{field}: {text!r} is not a text.")
    if has_control(text):
        raise BadHeader(f"{field}: {text!r} holds a control character; remove it.")


def _split(text: str, field: str) -> tuple[str, str]:
    """``Name <a@b>`` as its two parts; a bare address has no name."""
    text = text.strip(" ")
    before, bracket, spec = text.rpartition("<")
    if not bracket or not spec.endswith(">"):
        return "", text
    spec = spec[:-1]
    before = before.strip()
    quoted = _QUOTED.fullmatch(before)
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted[1]), spec
    if _STRUCTURAL.search(before):
        raise BadAddress(
            f"{field}: {text!r} is not one address; put the name into quotes, "
            "or give (name, address)."
        )
    return before, spec


@lru_cache(maxsize=4096)
def read_spec(spec: str, field: str) -> tuple[str, str]:
    """``local@domain`` as its two parts, the domain in A-labels.

    :raises BadAddress: for what no mail server would take.
    """
    local, at, domain = spec.rpartition("@")
    # An encoded-word in the local part would be read as something else by whoever decodes it.
    if not at or not _DOT_ATOM.fullmatch(local) or "=?" in local or _SPACE.search(local):
        raise BadAddress(f"{field}: {spec!r} is not an e-mail address.")
    domain = _read_domain(domain, spec, field)
    octets = len(local.encode("utf-8", "replace"))
    if octets > _MAX_LOCAL or octets + 1 + len(domain) > _MAX_ADDRESS:
        raise BadAddress(f"{field}: {spec!r} is longer than an e-mail address may be.")
    return local, domain


def _read_domain(domain: str, spec: str, field: str) -> str:
    try:
        if domain.startswith("[") and domain.endswith("]"):
            literal = domain[1:-1]
            if literal.upper().startswith("IPV6:"):
                ipaddress.IPv6Address(literal[5:])
            else:
                ipaddress.IPv4Address(literal)
            return domain
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode("ascii")
    except (ValueError, idna.IDNAError) as error:
        raise BadAddress(f"{field}: the domain of {spec!r} is not valid: {error}.") from error
    if not all(_LABEL.fullmatch(label) and len(label) < 64 for label in domain.split(".")):
        raise BadAddress(f"{field}: the domain of {spec!r} is not valid.")
    return domain
