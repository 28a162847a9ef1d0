"""Flights: one row for every message that is being offered to a server.

The mark that it is not known whether the server has the message. It becomes an attempt when that
has ended, and so the log is only ever added to.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..database import BigId
from .attempt import Begun
from .base import EVERY_LANGUAGE, PREFIX, Base
from .message import Message
from .states import Status


class Flight(Begun, Base):
    """A message in flight.

    It lives for a moment, and every message that is sent has one. So there are no foreign keys,
    which the database would have to look up each time; see :func:`is_being_sent`.
    """

    __tablename__ = PREFIX + "flight"
    __table_args__ = EVERY_LANGUAGE

    message_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    connection_id: Mapped[int | None]
    lease_token: Mapped[str] = mapped_column(sa.String(36))
    """Under which claim it was made."""


def is_being_sent() -> sa.ColumnElement[bool]:
    """Return the condition that a flight's message is being sent; otherwise the row means nothing."""
    return sa.exists().where(Message.id == Flight.message_id, Message.status == Status.SENDING)
