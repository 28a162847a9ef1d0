"""Attempts: one row for every SMTP transaction that has ended; together they are the log.

A row repeats what the log shows of its message and connection, so that a page of the log is read
without a join and stays true when either is gone. It is written once, when the attempt has ended:
until then there is a row in :mod:`flask_smtp_admin.models.flight`. Only where a worker was given up
too early, what it has to say later is written over what was said of it.

There are no foreign keys. The database would look up both rows for each attempt, a tenth of all that it
has to do for a message, and would have the attempts of several workers share a lock on the connection.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..database import BigId, UTCDateTime
from .base import EVERY_LANGUAGE, PREFIX, Base, Word, one_of, partial_index, search_key
from .message import ADDRESS_LENGTH, DETOUR_LENGTH, SUBJECT_LENGTH

FIRST_REFUSAL = 300
"""Reply codes below say that all is well (RFC 5321 section 4.2.1)."""


class AttemptStatus(str, Enum):
    """What became of an attempt; the log shows these words."""

    IN_PROGRESS = "IN PROGRESS"
    """It has not ended, so that it is no row of the log yet."""
    FAIL = "FAIL"
    SUCCESS = "SUCCESS"

    def __str__(self) -> str:
        return self.value


ENDED = (AttemptStatus.FAIL, AttemptStatus.SUCCESS)
"""What an attempt can have come to."""


class Begun:
    """What is known of an attempt from its beginning."""

    connection: Mapped[str] = mapped_column(sa.String(100))
    """The connection's caption at that time."""
    host: Mapped[str] = mapped_column(sa.String(100))
    port: Mapped[int]
    encryption: Mapped[str] = mapped_column(sa.String(20))
    use_auth: Mapped[bool]
    number: Mapped[int]
    """Which try of the message it is, from 1."""
    sender: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    recipient: Mapped[str] = mapped_column(search_key(ADDRESS_LENGTH))
    """The first recipient that is offered, in lower case."""
    recipient_count: Mapped[int]
    subject: Mapped[str] = mapped_column(sa.String(SUBJECT_LENGTH))
    subject_key: Mapped[str] = mapped_column(search_key(100))
    detour: Mapped[str | None] = mapped_column(sa.String(DETOUR_LENGTH), default=None)
    """Why it goes over this connection, if another one had been chosen at first."""
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    worker: Mapped[str | None] = mapped_column(sa.String(120), default=None)


class Attempt(Begun, Base):
    """One SMTP transaction that has ended."""

    __tablename__ = PREFIX + "attempt"
    __table_args__ = (
        one_of("status", ENDED),
        sa.Index(None, "message_id", "id"),
        sa.Index(None, "status", "id"),
        sa.Index(None, "connection_id", "id"),
        # What a connection's limits count.
        sa.Index(None, "connection_id", "started_at"),
        sa.Index(None, "recipient", "id"),
        sa.Index(None, "subject_key", "id"),
        # What a server refused, see is_refusal; every success has the same code.
        partial_index("smtp_code", "id", where=f"smtp_code >= {FIRST_REFUSAL}"),
        {"sqlite_autoincrement": True, **EVERY_LANGUAGE},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    message_id: Mapped[int] = mapped_column(BigId)
    """The number of the message, which may be gone; as for the connection, no other gets it."""
    connection_id: Mapped[int | None]
    counted: Mapped[bool] = mapped_column(default=True)
    """Whether it spent one of the message's tries; trouble of the connection does not."""
    lease_token: Mapped[str | None] = mapped_column(sa.String(36), default=None)
    """Under which claim it was made: that tells it from another worker's attempt."""
    status: Mapped[AttemptStatus] = mapped_column(Word(AttemptStatus))
    finished_at: Mapped[datetime] = mapped_column(UTCDateTime)
    milliseconds: Mapped[int | None] = mapped_column(default=None)
    stage: Mapped[str | None] = mapped_column(sa.String(20), default=None)
    """How far it came; ``None`` where the worker stopped, so that nobody knows."""
    smtp_code: Mapped[int | None] = mapped_column(default=None)
    enhanced_code: Mapped[str | None] = mapped_column(sa.String(12), default=None)
    reply: Mapped[str | None] = mapped_column(sa.Text, default=None)
    reason: Mapped[str | None] = mapped_column(sa.Text, default=None)
    """One sentence: what happened."""
    advice: Mapped[str | None] = mapped_column(sa.Text, default=None)
    tls: Mapped[str | None] = mapped_column(sa.String(200), default=None)
    """Protocol version and cipher, when the session was encrypted."""
    # The last column of the row: SQLite would read through it to get at one behind it.
    dialogue: Mapped[str | None] = mapped_column(sa.Text, default=None, deferred=True, sort_order=1)
    """The SMTP dialogue, a line each: milliseconds, direction and text, secrets blanked."""


def is_refusal() -> sa.ColumnElement[bool]:
    """Return the condition in the very words of the partial index, without a parameter.

    Only then does a database see that it holds all that is asked for.
    """
    first: sa.ColumnClause[int] = sa.literal_column(str(FIRST_REFUSAL))
    return Attempt.smtp_code >= first
