"""Attempts: one row for every SMTP transaction that was tried; together they are the log.

A row repeats what the log shows of its message and connection, so that a page of the log is read
without a join and stays true when either is gone.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..database import BigId, UTCDateTime
from .base import EVERY_LANGUAGE, PREFIX, Base, Word, one_of, search_key
from .message import ADDRESS_LENGTH, DETOUR_LENGTH, SUBJECT_LENGTH


class AttemptStatus(str, Enum):
    """What became of an attempt; the log shows these words."""

    IN_PROGRESS = "IN PROGRESS"
    FAIL = "FAIL"
    SUCCESS = "SUCCESS"

    def __str__(self) -> str:
        return self.value


class Attempt(Base):
    """One SMTP transaction. While its status is ``IN PROGRESS`` it marks the message in flight."""

    __tablename__ = PREFIX + "attempt"
    __table_args__ = (
        one_of("status", AttemptStatus),
        sa.Index(None, "message_id", "id"),
        sa.Index(None, "status", "id"),
        sa.Index(None, "connection_id", "id"),
        # What a connection's limits count.
        sa.Index(None, "connection_id", "started_at"),
        sa.Index(None, "recipient", "id"),
        sa.Index(None, "subject_key", "id"),
        sa.Index(None, "started_at", "id"),
        sa.Index(None, "smtp_code", "id"),
        {"sqlite_autoincrement": True, **EVERY_LANGUAGE},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    message_id: Mapped[int | None] = mapped_column(
        BigId, sa.ForeignKey(PREFIX + "message.id", ondelete="SET NULL")
    )
    connection_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey(PREFIX + "connection.id", ondelete="SET NULL")
    )
    connection: Mapped[str] = mapped_column(sa.String(100))
    """The connection's caption at that time."""
    host: Mapped[str] = mapped_column(sa.String(100))
    port: Mapped[int]
    encryption: Mapped[str] = mapped_column(sa.String(20))
    use_auth: Mapped[bool]
    number: Mapped[int]
    """Which try of the message it was, from 1."""
    counted: Mapped[bool] = mapped_column(default=True)
    """Whether it spent one of the message's tries; trouble of the connection does not."""
    sender: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    recipient: Mapped[str] = mapped_column(search_key(ADDRESS_LENGTH))
    """The first recipient that was offered, in lower case."""
    recipient_count: Mapped[int]
    subject: Mapped[str] = mapped_column(sa.String(SUBJECT_LENGTH))
    subject_key: Mapped[str] = mapped_column(search_key(100))
    detour: Mapped[str | None] = mapped_column(sa.String(DETOUR_LENGTH), default=None)
    """Why it went over this connection, if another one had been chosen at first."""
    lease_token: Mapped[str | None] = mapped_column(sa.String(36), default=None)
    """Under which claim it was made: that tells it from another worker's attempt."""
    status: Mapped[AttemptStatus] = mapped_column(Word(AttemptStatus))
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    milliseconds: Mapped[int | None] = mapped_column(default=None)
    stage: Mapped[str | None] = mapped_column(sa.String(20), default=None)
    smtp_code: Mapped[int | None] = mapped_column(default=None)
    enhanced_code: Mapped[str | None] = mapped_column(sa.String(12), default=None)
    reply: Mapped[str | None] = mapped_column(sa.Text, default=None)
    reason: Mapped[str | None] = mapped_column(sa.Text, default=None)
    """One sentence: what happened."""
    advice: Mapped[str | None] = mapped_column(sa.Text, default=None)
    tls: Mapped[str | None] = mapped_column(sa.String(200), default=None)
    """Protocol version and cipher, when the session was encrypted."""
    worker: Mapped[str | None] = mapped_column(sa.String(120), default=None)
    dialogue: Mapped[str | None] = mapped_column(sa.Text, default=None, deferred=True)
    """The SMTP dialogue, a line each: milliseconds, direction and text, secrets blanked."""
