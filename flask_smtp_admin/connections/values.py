"""Reading single values of a connection: numbers, addresses, patterns, certificates.

Owns their syntax. Pure: must not know which field a value belongs to.
"""

from __future__ import annotations

import re
from datetime import datetime

from flask_smtp_admin.errors import BadAddress
from flask_smtp_admin.late import importing
from flask_smtp_admin.smtp.mailaddress import read_spec
from flask_smtp_admin.smtp.text import has_control

_LOCAL = r"[A-Za-z0-9!#$%&'+/=^_`{|}~?]"
_LABEL = r"[A-Za-z0-9-]+"
ACCOUNT_ADDRESS = re.compile(rf"{_LOCAL}+(?:(?:\.|-+){_LOCAL}+)*@{_LABEL}(?:\.{_LABEL})+")
"""The account policy ``email``: a dot or hyphens may stand inside the local part."""

_MAX_CERTIFICATE = 64 * 1024


def digits(value: object) -> int | None:
    """Return a whole number given as such, or as text of the digits 0 to 9 alone."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        return int(value)
    return None


def address_of(text: str) -> str | None:
    """Return an e-mail address with its domain in A-labels, or ``None`` when it is none.

    The rule is that of the messages themselves, so that what is stored here can be sent from.
    """
    if len(text) > 255 or has_control(text):
        return None
    try:
        local, domain = read_spec(text, "address")
    except BadAddress:
        return None
    return f"{local}@{domain}"


def sender_pattern(line: str) -> str | None:
    """Return a sender pattern as messages are compared with it, or ``None`` when it is none."""
    if line == "*":
        return line
    wildcard = line.startswith("*@")
    address = address_of("x" + line[1:] if wildcard else line)
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    return f"{'*' if wildcard else local}@{domain}".lower()


def certificate_objection(text: str, now: datetime | None) -> str:
    """Return why a text is no certificate to be trusted, or nothing."""
    if "PRIVATE KEY-----" in text:
        return "This holds a private key, which belongs on the server alone. Paste the certificate."
    if len(text) > _MAX_CERTIFICATE:
        return "This is longer than 64 KiB. Paste only the certificate of your authority or server."
    with importing():  # it costs every start of an application
        from cryptography import x509  # noqa: PLC0415

    try:
        certificates = x509.load_pem_x509_certificates(text.encode("utf-8"))
    except ValueError:
        return (
            "This is no certificate in PEM format. It begins with “-----BEGIN CERTIFICATE-----” "
            "and ends with “-----END CERTIFICATE-----”."
        )
    ended = [c.not_valid_after_utc for c in certificates if now and c.not_valid_after_utc <= now]
    if ended:
        return f"This certificate ended on {min(ended):%Y-%m-%d}. Paste the one in use today."
    return ""
