"""The first connection, from the ``MAIL_*`` settings that the application already has.

Owns reading those settings as Flask-Mail does. Must not know the database.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from flask_smtp_admin.models import Encryption

CAPTION = "Default"
SETTINGS = {
    "host": "MAIL_SERVER",
    "port": "MAIL_PORT",
    "username": "MAIL_USERNAME",
    "password": "MAIL_PASSWORD",
    "sender_name": "MAIL_DEFAULT_SENDER",
    "sender_address": "MAIL_DEFAULT_SENDER",
}
"""Which setting a field comes from."""
IMPLICIT_PORT = 465
FLASK_MAIL_PORT = 25


def from_mail_settings(mapping: Mapping[str, Any], name: str = "") -> dict[str, Any] | None:
    """Return the fields of a connection, or ``None`` when ``MAIL_SERVER`` is not set.

    As in Flask-Mail the port is 25 unless ``MAIL_PORT`` says otherwise; ``MAIL_USE_SSL`` alone
    takes 465, since nobody speaks TLS from the first byte on 25.

    :param name: the sender's name where ``MAIL_DEFAULT_SENDER`` has none.
    """
    server = str(mapping.get("MAIL_SERVER") or "").strip()
    if not server:
        return None
    encryption = _encryption(mapping)
    username = str(mapping.get("MAIL_USERNAME") or "")
    sender_name, sender_address = _sender(mapping.get("MAIL_DEFAULT_SENDER"))
    if not sender_address:
        sender_address = username if "@" in username else f"noreply@{_domain(server)}"
    port = mapping.get("MAIL_PORT")
    if port in (None, ""):
        port = IMPLICIT_PORT if encryption is Encryption.IMPLICIT else FLASK_MAIL_PORT
    return {
        "caption": CAPTION,
        "host": server,
        "port": port,
        "encryption": encryption,
        "sender_name": (sender_name or name or sender_address)[:100],
        "sender_address": sender_address,
        # As Flask-Mail does: without both it does not log in.
        "use_auth": bool(username and mapping.get("MAIL_PASSWORD")),
        "username": username,
        "password": str(mapping.get("MAIL_PASSWORD") or ""),
        # On the machine itself nobody listens; elsewhere a person has to allow it.
        "allow_plain_auth": encryption is Encryption.NONE and is_loopback(server),
    }


def _encryption(mapping: Mapping[str, Any]) -> Encryption:
    if _is_true(mapping.get("MAIL_USE_SSL")):
        return Encryption.IMPLICIT
    return Encryption.STARTTLS if _is_true(mapping.get("MAIL_USE_TLS")) else Encryption.NONE


def _is_true(value: object) -> bool:
    """Read a setting that may come from the environment, where everything is a text."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "false", "no", "off")
    return bool(value)


def _sender(value: object) -> tuple[str, str]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return str(value[0] or ""), str(value[1] or "")
    return parseaddr(value) if isinstance(value, str) else ("", "")


def _domain(server: str) -> str:
    try:
        ipaddress.ip_address(server)
    except ValueError:
        return server
    return "localhost"  # an address with an IP address for a domain is no use to anybody


def is_loopback(server: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(server).is_loopback
    except ValueError:
        return server.lower().rstrip(".") == "localhost"
