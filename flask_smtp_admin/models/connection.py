"""Connections: the SMTP accounts that carry messages, and how they fare.

Owns the settings of a connection and its health. Health has a table of its own, because workers
write it often and must not collide with a person who edits the settings.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import Enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..crypto import KeyRing
from ..database import UTCDateTime
from .base import EVERY_LANGUAGE, PREFIX, Base, Word, one_of


class Encryption(str, Enum):
    """How a session is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    """Required, never opportunistic (RFC 3207; RFC 8314 prefers implicit TLS)."""
    IMPLICIT = "implicit"
    """TLS from the first byte, shown as SSL/TLS (RFC 8314)."""

    def __str__(self) -> str:
        return self.value


class AuthMechanism(str, Enum):
    """How the account proves itself."""

    AUTO = "auto"
    CRAM_MD5 = "CRAM-MD5"
    LOGIN = "LOGIN"
    PLAIN = "PLAIN"
    XOAUTH2 = "XOAUTH2"

    def __str__(self) -> str:
        return self.value


class BreakerState(str, Enum):
    """Whether a connection carries messages."""

    CLOSED = "closed"
    """All well: messages flow."""
    OPEN = "open"
    """Broken: messages wait until the next probe."""
    PAUSED = "paused"
    """The server asked for a pause, a quota for instance."""

    def __str__(self) -> str:
        return self.value


DEFAULT_PORTS = {Encryption.NONE: 25, Encryption.STARTTLS: 587, Encryption.IMPLICIT: 465}


class Connection(Base):
    """An SMTP account."""

    __tablename__ = PREFIX + "connection"
    __table_args__ = (
        one_of("encryption", Encryption),
        one_of("auth_mechanism", AuthMechanism),
        {"sqlite_autoincrement": True, **EVERY_LANGUAGE},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(sa.String(32), unique=True, default=lambda: uuid.uuid4().hex)
    """Part of the place that the password is bound to; unlike the id it exists before the row."""
    caption: Mapped[str] = mapped_column(sa.String(100), unique=True)
    driver: Mapped[str] = mapped_column(sa.String(40), default="smtp")
    host: Mapped[str] = mapped_column(sa.String(100))
    port: Mapped[int]
    encryption: Mapped[Encryption] = mapped_column(Word(Encryption), default=Encryption.STARTTLS)
    sender_name: Mapped[str] = mapped_column(sa.String(100))
    sender_address: Mapped[str] = mapped_column(sa.String(255))
    use_auth: Mapped[bool] = mapped_column(default=True)
    username: Mapped[str] = mapped_column(sa.String(255), default="")
    password_token: Mapped[str | None] = mapped_column(sa.Text, default=None)
    password_changed_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    auth_mechanism: Mapped[AuthMechanism] = mapped_column(
        Word(AuthMechanism), default=AuthMechanism.AUTO
    )
    allow_plain_auth: Mapped[bool] = mapped_column(default=False)
    """Whether the password may be sent over a link that is not encrypted."""
    ca_certificate: Mapped[str | None] = mapped_column(sa.Text, default=None)
    """PEM of a private CA, or of the server's own certificate, to be trusted besides the system's."""
    connect_timeout: Mapped[int] = mapped_column(default=10)
    reply_timeout: Mapped[int] = mapped_column(default=30)
    final_timeout: Mapped[int] = mapped_column(default=600)
    session_deadline: Mapped[int] = mapped_column(default=3600)
    enabled: Mapped[bool] = mapped_column(default=True)
    position: Mapped[int] = mapped_column(default=0)
    """Order of use, smallest first."""
    fallback_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey(PREFIX + "connection.id", ondelete="SET NULL"), default=None
    )
    hands_over: Mapped[bool] = mapped_column(default=True)
    """Whether the next connection that carries the same senders takes over while this one is broken
    and no fallback is named, or that one is broken as well."""
    sender_patterns: Mapped[str] = mapped_column(sa.Text, default="")
    """One address or ``*@domain`` a line; empty carries every sender."""
    limit_per_minute: Mapped[int | None] = mapped_column(default=None)
    limit_per_hour: Mapped[int | None] = mapped_column(default=None)
    limit_per_day: Mapped[int | None] = mapped_column(default=None)
    max_sessions: Mapped[int] = mapped_column(default=2)
    messages_per_session: Mapped[int] = mapped_column(default=100)
    max_attempts: Mapped[int | None] = mapped_column(default=None)
    """Tries of one message; ``None`` takes ``SMTP_ADMIN_MAX_ATTEMPTS``."""
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)

    health: Mapped[ConnectionHealth] = relationship(
        back_populates="connection", cascade="all, delete-orphan", lazy="joined"
    )

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.caption!r} {self.host}:{self.port}>"

    @property
    def password_place(self) -> str:
        """The associated data that binds the encrypted password to this row and field."""
        return f"{self.__tablename__}:{self.uid}:password"

    def set_password(self, password: str | None, keys: KeyRing, now: datetime) -> None:
        """Store ``password`` encrypted, or clear it with ``None``.

        :raises ConfigurationError: no safe key is configured.
        """
        place = self.password_place
        self.password_token = keys.encrypt(password, place=place) if password else None
        self.password_changed_at = now if password else None

    def password(self, keys: KeyRing) -> str:
        """Return the password, or an empty text when none is stored.

        :raises SecretUnreadable: the key it was encrypted with is not configured any more.
        """
        if self.password_token is None:
            return ""
        return keys.decrypt(self.password_token, place=self.password_place)


class ConnectionHealth(Base):
    """How a connection fares; written by workers and tests."""

    __tablename__ = PREFIX + "connection_health"
    __table_args__ = (one_of("breaker", BreakerState), EVERY_LANGUAGE)

    connection_id: Mapped[int] = mapped_column(
        sa.ForeignKey(PREFIX + "connection.id", ondelete="CASCADE"), primary_key=True
    )
    breaker: Mapped[BreakerState] = mapped_column(Word(BreakerState), default=BreakerState.CLOSED)
    failures: Mapped[int] = mapped_column(default=0)
    """Failures in a row."""
    retry_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    """Before this time no message is offered to the connection; ``None``: at once."""
    failing_since: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    last_ok_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    last_failure_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    last_stage: Mapped[str | None] = mapped_column(sa.String(20), default=None)
    last_code: Mapped[int | None] = mapped_column(default=None)
    last_reply: Mapped[str | None] = mapped_column(sa.Text, default=None)
    last_reason: Mapped[str | None] = mapped_column(sa.Text, default=None)
    """One sentence on the last failure."""
    last_advice: Mapped[str | None] = mapped_column(sa.Text, default=None)

    connection: Mapped[Connection] = relationship(back_populates="health")
