"""Rows for tests that need messages without sending any: one, or very many at once."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_smtp_admin.models import (
    Attempt,
    AttemptStatus,
    Connection,
    ConnectionHealth,
    Encryption,
    Flight,
    Message,
    Recipient,
    RecipientKind,
    Status,
)

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
"""A Sunday."""


def a_connection(
    caption: str = "Main", *, health: dict[str, Any] | None = None, **fields: Any
) -> Any:
    values: dict[str, Any] = {
        "caption": caption,
        "host": "mail.example.org",
        "port": 587,
        "encryption": Encryption.STARTTLS,
        "use_auth": False,
        "sender_name": "Shop",
        "sender_address": "shop@example.org",
        "enabled": True,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Connection(**{**values, **fields}, health=ConnectionHealth(**(health or {})))


def a_message(*recipients: str, **fields: Any) -> Any:
    addresses = recipients or ("ann@example.org",)
    subject = fields.get("subject", "Your order")
    values: dict[str, Any] = {
        "message_id": f"<{id(addresses)}@example.org>",
        "sender": "shop@example.org",
        "subject": subject,
        "subject_key": subject.casefold()[:100],
        "first_recipient": addresses[0].lower(),
        "recipient_count": len(addresses),
        "size": 1204,
        "status": Status.QUEUED,
        "due_at": NOW,
        "created_at": NOW,
        "attempts_count": 0,
    }
    rows = [
        Recipient(address=address, address_key=address.lower(), kind=RecipientKind.TO)
        for address in addresses
    ]
    return Message(**{**values, **fields}, recipients=rows)


def an_attempt(message: Any, **fields: Any) -> Any:
    values = {"status": AttemptStatus.FAIL, "finished_at": fields.get("started_at", NOW)}
    return Attempt(**{**_begun(message), **values, **fields})


def a_flight(message: Any, **fields: Any) -> Any:
    """Return the mark of a message that is being sent."""
    values = {"lease_token": message.lease_token or "somebody's"}
    return Flight(**{**_begun(message), **values, **fields})


def _begun(message: Any) -> dict[str, Any]:
    return {
        "message_id": message.id,
        "connection_id": message.connection_id,
        "connection": "Main",
        "host": "mail.example.org",
        "port": 587,
        "encryption": "starttls",
        "use_auth": True,
        "number": 1,
        "sender": message.sender,
        "recipient": message.first_recipient,
        "recipient_count": message.recipient_count,
        "subject": message.subject,
        "subject_key": message.subject_key,
        "started_at": NOW,
    }


def add(engine: sa.Engine, *rows: Any) -> None:
    """Store rows; they can be read afterwards without a session."""
    with Session(engine, expire_on_commit=False) as session:
        session.add_all(rows)
        session.commit()


def fill(engine: sa.Engine, count: int, *, connection_id: int | None = None) -> None:
    """Store ``count`` messages with a recipient and an attempt each, as a busy site has them.

    They belong to the connection with that number, if any.

    Message n was made n seconds after ``NOW``; every thousandth failed with 550, every two
    thousandth is held, every hundredth is queued, the others were sent.
    """
    numbers = _numbers(engine, count)
    made = _seconds_after(engine, numbers.c.n)
    status = sa.case(
        (numbers.c.n % 2_000 == 0, "held"),
        (numbers.c.n % 1_000 == 0, "failed"),
        (numbers.c.n % 100 == 0, "queued"),
        else_="sent",
    )
    name = sa.literal("user") + sa.cast(numbers.c.n, sa.String(20)) + "@example.org"
    subject = sa.literal("Order ") + sa.cast(numbers.c.n, sa.String(20))
    message: dict[str, Any] = {
        "id": numbers.c.n,
        "message_id": name,
        "pinned": False,
        "sender": sa.literal("shop@example.org"),
        "from_header": "",
        "subject": subject,
        "subject_key": sa.func.lower(subject),
        "first_recipient": name,
        "recipient_count": 1,
        "size": 1000,
        "smtputf8": False,
        "eight_bit": False,
        "automated": False,
        "sensitive": False,
        "at_most_once": False,
        "priority": 50,
        "status": status,
        "due_at": made,
        "created_at": made,
        "attempts_count": 1,
        "crash_count": 0,
        "finished_at": sa.case((status.in_(("sent", "failed")), made), else_=None),
        "last_code": sa.case((status == "failed", 550), else_=250),
        "reason": sa.literal("The mailbox is full."),
    }
    recipient: dict[str, Any] = {
        "message_id": numbers.c.n,
        "address": name,
        "address_key": name,
        "kind": "to",
        "status": "sent",
    }
    attempt: dict[str, Any] = {
        "id": numbers.c.n,
        "message_id": numbers.c.n,
        "connection": "Main",
        "host": "mail.example.org",
        "port": 587,
        "encryption": "starttls",
        "use_auth": True,
        "number": 1,
        "counted": True,
        "sender": sa.literal("shop@example.org"),
        "recipient": name,
        "recipient_count": 1,
        "subject": subject,
        "subject_key": sa.func.lower(subject),
        "status": sa.case((status == "failed", "FAIL"), else_="SUCCESS"),
        "started_at": made,
        "finished_at": made,
        "smtp_code": sa.case((status == "failed", 550), else_=250),
        "reason": sa.literal("The mailbox is full."),
    }
    if connection_id is not None:
        message["connection_id"] = attempt["connection_id"] = connection_id
    with engine.begin() as connection:
        for table, values in (
            (Message.__table__, message),
            (Recipient.__table__, recipient),
            (Attempt.__table__, attempt),
        ):
            columns = [
                value if isinstance(value, sa.ColumnElement) else sa.literal(value)
                for value in values.values()
            ]
            query = sa.select(*columns).select_from(numbers)
            connection.execute(
                sa.insert(table).from_select(list(values), query, include_defaults=False)  # type: ignore[arg-type]
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")


def _numbers(engine: sa.Engine, count: int) -> Any:
    """Select the numbers from 1 to ``count`` as a column ``n``."""
    if engine.dialect.name == "postgresql":
        series = sa.func.generate_series(1, count).table_valued(sa.column("n", sa.Integer))
        return series.render_derived()
    first = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
    return first.union_all(sa.select(first.c.n + 1).where(first.c.n < count))


def _seconds_after(engine: sa.Engine, seconds: Any) -> Any:
    """Select the time so many seconds after ``NOW``, as the database stores times."""
    if engine.dialect.name == "postgresql":
        start = sa.literal(NOW, sa.DateTime(timezone=True))
        return start + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    text_start = NOW.strftime("%Y-%m-%d %H:%M:%S")
    if engine.dialect.name == "sqlite":
        text = sa.literal("+") + sa.cast(seconds, sa.String) + sa.literal(" seconds")
        return sa.func.strftime("%Y-%m-%d %H:%M:%S.000000", text_start, text)
    return sa.func.timestampadd(sa.text("SECOND"), seconds, text_start)


def later(**span: float) -> datetime:
    """Return the time so far after ``NOW``; a negative span is before it."""
    return NOW + timedelta(**span)
