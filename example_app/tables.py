"""The shop's own tables, in the database that also holds the outbox.

Owns orders and what the signal receiver noted. The outbox's tables come from flask-smtp-admin.
"""

from __future__ import annotations

from datetime import datetime, timezone

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The parent of the shop's tables."""


db = SQLAlchemy(metadata=Base.metadata)


def now() -> datetime:
    """Return the present time in UTC; SQLite keeps no zone, so the columns hold none."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


class Order(Base):
    """Something that was ordered."""

    __tablename__ = "shop_order"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(sa.String(100))
    customer: Mapped[str] = mapped_column(sa.String(320))
    ordered_at: Mapped[datetime] = mapped_column(default=now)


class Newsletter(Base):
    """An issue of the newsletter, which was sent to all its readers or to none."""

    __tablename__ = "shop_newsletter"

    id: Mapped[int] = mapped_column(primary_key=True)
    sent_at: Mapped[datetime] = mapped_column(default=now)


class DeliveryFailure(Base):
    """What a signal of flask-smtp-admin told the shop about a message that did not get through."""

    __tablename__ = "shop_delivery_failure"

    id: Mapped[int] = mapped_column(primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(default=now)
    message_id: Mapped[int | None]
    recipient: Mapped[str] = mapped_column(sa.String(320))
    subject: Mapped[str] = mapped_column(sa.String(500))
    reply: Mapped[str] = mapped_column(sa.Text)
    final: Mapped[bool]
