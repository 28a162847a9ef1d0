"""Messages, their recipients and their frozen bytes: the outbox itself."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..database import BigId, Blob, UTCDateTime
from .base import EVERY_LANGUAGE, PREFIX, Base, Word, one_of, partial_index, search_key
from .states import Status

SUBJECT_LENGTH = 500
DETOUR_LENGTH = 250
ADDRESS_LENGTH = 320
"""64 octets of local part, ``@``, 255 octets of domain (RFC 5321 section 4.5.3.1)."""
BODY_PART_BYTES = 1024 * 1024
"""The bytes are stored in parts, since MariaDB takes 16 MiB in one statement by default."""


class Priority:
    """The numbers behind ``priority="high"`` and so on: smaller goes first."""

    HIGH = 10
    NORMAL = 50
    LOW = 90
    BY_NAME: ClassVar[dict[str, int]] = {"high": HIGH, "normal": NORMAL, "low": LOW}


class RecipientKind(str, Enum):
    """Which header named the recipient."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"

    def __str__(self) -> str:
        return self.value


class RecipientStatus(str, Enum):
    """What became of the message for one recipient."""

    PENDING = "pending"
    SENT = "sent"
    """The server accepted it for this recipient; it is never offered again."""
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


class Message(Base):
    """One message of the outbox, without its bytes."""

    __tablename__ = PREFIX + "message"
    __table_args__ = (
        one_of("status", Status),
        partial_index("idempotency_key", unique=True),
        # The claim: due messages of one connection, highest priority and oldest first. And when
        # the next one is due. Those that are not queued stay out of them: see is_queued.
        partial_index(
            *("status", "connection_id", "priority", "due_at", "id"), where="status = 'queued'"
        ),
        partial_index("status", "due_at", "id", where="status = 'queued'"),
        # The sweep: leases that ended. And what a worker has: few messages are with one.
        partial_index("status", "lease_until"),
        partial_index("lease_token"),
        # The queue page: one state, newest first.
        sa.Index(None, "status", "id"),
        partial_index("status", "expires_at"),
        sa.Index(None, "connection_id", "id"),
        sa.Index(None, "subject_key", "id"),
        # What ended today; messages that are under way stay out of it.
        partial_index("status", "finished_at"),
        {"sqlite_autoincrement": True, **EVERY_LANGUAGE},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.String(255), index=True)
    """The Message-ID header, with its angle brackets."""
    idempotency_key: Mapped[str | None] = mapped_column(search_key(200), default=None)
    """Compared exactly: under a collation of people "A1" and "a1" might be one key."""
    connection_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey(PREFIX + "connection.id", ondelete="SET NULL"), default=None
    )
    """The connection that is to carry it; ``None`` until there is one."""
    pinned: Mapped[bool] = mapped_column(default=False)
    """Whether the caller or a person chose the connection."""
    sender: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    """The envelope sender (MAIL FROM)."""
    from_header: Mapped[str] = mapped_column(sa.String(500), default="")
    subject: Mapped[str] = mapped_column(sa.String(SUBJECT_LENGTH), default="")
    subject_key: Mapped[str] = mapped_column(search_key(100), default="")
    """The start of the subject, case-folded, for the search."""
    first_recipient: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    """The first recipient in lower case; lists show it with the number of the others."""
    recipient_count: Mapped[int]
    size: Mapped[int]
    """Bytes of the frozen message."""
    smtputf8: Mapped[bool] = mapped_column(default=False)
    eight_bit: Mapped[bool] = mapped_column(default=False)
    automated: Mapped[bool] = mapped_column(default=False)
    sensitive: Mapped[bool] = mapped_column(default=False)
    at_most_once: Mapped[bool] = mapped_column(default=False)
    priority: Mapped[int] = mapped_column(sa.SmallInteger, default=Priority.NORMAL)
    status: Mapped[Status] = mapped_column(Word(Status), default=Status.QUEUED)
    due_at: Mapped[datetime] = mapped_column(UTCDateTime)
    """Not before this time is it tried (again)."""
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    attempts_count: Mapped[int] = mapped_column(default=0)
    """Tries that counted. Trouble of the connection spends none."""
    max_attempts: Mapped[int | None] = mapped_column(default=None)
    """Tries until it is given up; ``None`` takes what its connection says."""
    crash_count: Mapped[int] = mapped_column(sa.SmallInteger, default=0)
    """How many workers died with this message in flight."""
    lease_token: Mapped[str | None] = mapped_column(sa.String(36), default=None)
    """Who has the row: a worker while it is claimed, or the last act of a person."""
    lease_until: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    last_stage: Mapped[str | None] = mapped_column(sa.String(20), default=None)
    last_code: Mapped[int | None] = mapped_column(default=None)
    last_enhanced: Mapped[str | None] = mapped_column(sa.String(12), default=None)
    last_reply: Mapped[str | None] = mapped_column(sa.Text, default=None)
    detour: Mapped[str | None] = mapped_column(sa.String(DETOUR_LENGTH), default=None)
    """One sentence: why it goes over another connection than the one chosen at first."""
    reason: Mapped[str | None] = mapped_column(sa.Text, default=None)
    """One sentence on what happened last, or on why it is held."""

    recipients: Mapped[list[Recipient]] = relationship(
        back_populates="message", order_by="Recipient.id", cascade="all, delete-orphan"
    )

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.status} to {self.recipient_count}>"


def is_queued() -> sa.ColumnElement[bool]:
    """Return the condition in the very words of the partial indexes, without a parameter.

    Only then does a database see that they hold all that is asked for.
    """
    word: sa.ColumnClause[Any] = sa.literal_column(f"'{Status.QUEUED.value}'")
    return Message.status == word


class Recipient(Base):
    """One recipient of one message, with its own outcome."""

    __tablename__ = PREFIX + "recipient"
    __table_args__ = (
        one_of("kind", RecipientKind),
        one_of("status", RecipientStatus),
        sa.Index(None, "address_key", "message_id"),
        {
            "sqlite_autoincrement": True,
            # Room for each row's outcome beside it, which then needs no new entry in any index.
            "postgresql_with": {"fillfactor": "70"},
            **EVERY_LANGUAGE,
        },
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    message_id: Mapped[int] = mapped_column(
        BigId, sa.ForeignKey(PREFIX + "message.id", ondelete="CASCADE"), index=True
    )
    address: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    address_key: Mapped[str] = mapped_column(search_key(ADDRESS_LENGTH))
    """The address in lower case, for the search."""
    kind: Mapped[RecipientKind] = mapped_column(Word(RecipientKind, 3))
    status: Mapped[RecipientStatus] = mapped_column(
        Word(RecipientStatus, 10), default=RecipientStatus.PENDING
    )
    smtp_code: Mapped[int | None] = mapped_column(default=None)
    enhanced_code: Mapped[str | None] = mapped_column(sa.String(12), default=None)
    reply: Mapped[str | None] = mapped_column(sa.Text, default=None)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)

    message: Mapped[Message] = relationship(back_populates="recipients")


class MessageBody(Base):
    """A part of the frozen bytes of a message."""

    __tablename__ = PREFIX + "message_body"
    __table_args__ = EVERY_LANGUAGE

    message_id: Mapped[int] = mapped_column(
        BigId,
        sa.ForeignKey(PREFIX + "message.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    part: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(Blob)
