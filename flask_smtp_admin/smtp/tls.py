"""TLS as a session uses it: the context, the handshake's facts, the name of a failure.

Owns what is verified (always the certificate and the name). Must not know SMTP replies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
