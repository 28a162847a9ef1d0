"""Workers: the processes and threads that deliver, as they report themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..database import UTCDateTime
from .base import EVERY_LANGUAGE, PREFIX, Base

ALIVE_WITHIN = timedelta(seconds=60)
"""A worker reports every 15 s; one that has been silent for longer than this counts as gone."""


class Worker(Base):
    """One worker, from its start to some time after its end."""

    __tablename__ = PREFIX + "worker"
    __table_args__ = EVERY_LANGUAGE

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(20))
    """``rq``, ``embedded``, ``inline`` or ``burst``."""
    hostname: Mapped[str] = mapped_column(sa.String(100))
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    seen_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    swept_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    """When it last looked for messages that nobody woke it for."""
    stopped_at: Mapped[datetime | None] = mapped_column(UTCDateTime, default=None)
    sent_count: Mapped[int] = mapped_column(default=0)
