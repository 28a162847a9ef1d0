"""How many of a connection's sessions each worker has."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..database import UTCDateTime
from .base import EVERY_LANGUAGE, PREFIX, Base


class SessionHold(Base):
    """The sessions that one worker has with the server of a connection, or is about to open."""

    __tablename__ = PREFIX + "session_hold"
    __table_args__ = EVERY_LANGUAGE

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    connection_id: Mapped[int] = mapped_column(
        sa.ForeignKey(PREFIX + "connection.id", ondelete="CASCADE"), index=True
    )
    sessions: Mapped[int]
    held_until: Mapped[datetime] = mapped_column(UTCDateTime)
    """Renewed as long as the worker lives; by the clock of the database."""
