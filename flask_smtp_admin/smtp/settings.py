"""What a session needs to know of the server it speaks to.

Owns :class:`Endpoint`. Must not know where the values are stored nor how they are edited.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flask_smtp_admin.errors import ConfigurationError
from flask_smtp_admin.smtp.text import has_control

Encryption = Literal["none", "starttls", "implicit"]
AuthMechanism = Literal["auto", "CRAM-MD5", "LOGIN", "PLAIN", "XOAUTH2"]

ENCRYPTIONS: tuple[Encryption, ...] = ("none", "starttls", "implicit")
AUTH_MECHANISMS: tuple[AuthMechanism, ...] = ("auto", "CRAM-MD5", "LOGIN", "PLAIN", "XOAUTH2")


@dataclass(frozen=True)
class Endpoint:
    """An SMTP server, the way to it, the login, and how long to wait. Durations are in seconds.

    * ``encryption``: ``starttls`` is required, never opportunistic; ``implicit`` is TLS from the
      first byte (RFC 8314). Certificate and name are always verified.
    * ``password`` holds the access token when ``auth_mechanism`` is ``XOAUTH2``.
    * ``auth_mechanism``: ``auto`` takes the first that the server offers of PLAIN, LOGIN, CRAM-MD5
      over TLS, and CRAM-MD5 alone without TLS; XOAUTH2 is used only when chosen.
    * ``allow_plain_auth``: let the password travel unencrypted on a connection without TLS.
    * ``ca_certificate``: PEM of a private CA, or of the very certificate that the server shows; it
      is trusted instead of the system's authorities.
    * ``connect_timeout`` is for all addresses of the host together; ``reply_timeout`` for each
      reply and each piece written; ``final_timeout`` for the reply to the final dot (RFC 5321
      section 4.5.3.2.6 asks for 10 minutes); ``session_deadline`` for the whole session,
      but for that reply.
    * ``allow_private``: whether private and loopback addresses may be reached.
    * ``local_hostname``: the name given in EHLO; without one, our address in brackets.

    :raises ConfigurationError: for a value that no session can be made from.
    """

    host: str
    port: int
    encryption: Encryption = "starttls"
    use_auth: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    auth_mechanism: AuthMechanism = "auto"
    allow_plain_auth: bool = False
    ca_certificate: str | None = None
    connect_timeout: float = 10.0
    reply_timeout: float = 30.0
    final_timeout: float = 600.0
    session_deadline: float = 3600.0
    allow_private: bool = True
    local_hostname: str | None = None

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise ConfigurationError("The SMTP host is empty: enter a name or an address.")
        if not 1 <= self.port <= 65535:
            raise ConfigurationError(f"The SMTP port {self.port} is not between 1 and 65535.")
        if self.encryption not in ENCRYPTIONS:
            raise ConfigurationError(
                f"The encryption {self.encryption!r} is none of {', '.join(ENCRYPTIONS)}."
            )
        if self.auth_mechanism not in AUTH_MECHANISMS:
            raise ConfigurationError(
                f"The AUTH mechanism {self.auth_mechanism!r} is none of {', '.join(AUTH_MECHANISMS)}."
            )
        self._refuse_control_characters()
        for name in ("connect_timeout", "reply_timeout", "final_timeout", "session_deadline"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be more than 0 seconds.")

    def _refuse_control_characters(self) -> None:
        values = {
            "host": self.host,
            "username": self.username,
            "password": self.password,
            "local host name": self.local_hostname or "",
        }
        for name, value in values.items():
            if has_control(value):
                raise ConfigurationError(f"The {name} holds a control character; remove it.")

    @property
    def label(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
