"""TLS as a session uses it: the context, the handshake's facts, the name of a failure.

Owns what is verified: always the certificate, its chain and its name. Must not know SMTP replies.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from flask_smtp_admin.smtp.failure import Failure, FailureMet

# OpenSSL's X509_V_ERR_* numbers (openssl/x509_vfy.h).
_BY_VERIFY_CODE = {
    9: Failure.CERTIFICATE_NOT_YET_VALID,
    10: Failure.CERTIFICATE_EXPIRED,
    18: Failure.CERTIFICATE_SELF_SIGNED,
    19: Failure.CERTIFICATE_UNKNOWN_CA,
    20: Failure.CERTIFICATE_UNKNOWN_CA,
    21: Failure.CERTIFICATE_UNKNOWN_CA,
    62: Failure.CERTIFICATE_WRONG_NAME,
    64: Failure.CERTIFICATE_WRONG_NAME,
}

# What OpenSSL calls it when the other side answers the handshake in plain text.
_PLAIN_TEXT_REASONS = frozenset(
    {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"}
)


@dataclass(frozen=True)
class TlsFacts:
    """What the handshake agreed on.

    ``version`` and ``cipher`` as OpenSSL names them, the certificate's subject and issuer in
    words, the names it is for, and its end (UTC).
    """

    version: str
    cipher: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    expires_at: datetime

    def __str__(self) -> str:
        whose = self.names[0] if self.names else self.subject
        return (
            f"{self.version} {self.cipher}, certificate of {whose} by {self.issuer}, "
            f"valid until {self.expires_at:%Y-%m-%d}"
        )


@lru_cache(maxsize=32)
def make_context(ca_certificate: str | None) -> ssl.SSLContext:
    """A context that verifies certificate and name, TLS 1.2 or newer.

    With *ca_certificate* (PEM) that certificate is trusted instead of the system's authorities; it
    may be a CA or the server's own. Cached: reading the system's authorities takes milliseconds.

    :raises FailureMet: when *ca_certificate* cannot be read.
    """
    try:
        context = ssl.create_default_context(cadata=ca_certificate or None)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise FailureMet(Failure.CA_UNREADABLE, str(error)) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_certificate:
        # A pinned server certificate is not a CA, and a home-made CA seldom has every extension
        # that the strict check of newer Pythons wants. Chain, dates and name are checked as ever.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def failure_of(error: ssl.SSLError, *, implicit: bool) -> FailureMet:
    """The failure behind a handshake's *error*, with OpenSSL's words as the remark."""
    if isinstance(error, ssl.SSLCertVerificationError):
        failure = _BY_VERIFY_CODE.get(error.verify_code, Failure.CERTIFICATE_INVALID)
        return FailureMet(failure, error.verify_message)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return FailureMet(Failure.CLOSED, "the server closed the connection in the TLS handshake")
    if implicit and error.reason in _PLAIN_TEXT_REASONS:
        return FailureMet(Failure.TLS_NOT_SPOKEN, error.reason)
    return FailureMet(Failure.TLS_FAILED, error.reason or str(error))


def facts_of(sock: ssl.SSLSocket) -> TlsFacts:
    """What was agreed on over *sock*, whose handshake has succeeded."""
    certificate: dict[str, Any] = sock.getpeercert() or {}
    cipher = sock.cipher()
    return TlsFacts(
        version=sock.version() or "",
        cipher=cipher[0] if cipher else "",
        subject=_name(certificate.get("subject", ())),
        issuer=_name(certificate.get("issuer", ())),
        names=tuple(str(value) for _, value in certificate.get("subjectAltName", ())),
        expires_at=datetime.fromtimestamp(
            ssl.cert_time_to_seconds(certificate["notAfter"]), tz=timezone.utc
        ),
    )


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """The common name of a distinguished name, else its organisation, else all of it."""
    values = {key: value for part in parts for key, value in part}
    for key in ("commonName", "organizationName"):
        if key in values:
            return values[key]
    return ", ".join(values.values())
