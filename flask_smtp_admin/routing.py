"""Which connection carries a message.

Owns the choice by sender pattern and order. Must not know delivery: whether the chosen connection
works today is decided there.
"""

from __future__ import annotations

import sqlalchemy as sa

from .bulk import Bulk
from .errors import UnknownConnection
from .models import Connection, Message, Status


def choose(connection: sa.Connection, sender: str) -> int | None:
    """Return the id of the connection for ``sender``, or ``None`` while no enabled one fits.

    A connection whose patterns name the sender comes before one that carries everybody; within
    each kind the order of the list decides.
    """
    rows = _ENABLED.all(connection)
    named = (number for number, patterns in rows if patterns and matches(patterns, sender))
    general = (number for number, patterns in rows if not patterns.strip())
    return next(named, None) or next(general, None)


_ENABLED = Bulk(
    sa.select(Connection.id, Connection.sender_patterns)
    .where(Connection.enabled)
    .order_by(Connection.position, Connection.id)
)


def matches(patterns: str, sender: str) -> bool:
    """Tell whether a pattern names the sender: an address, ``*@domain`` or ``*``, one a line."""
    address = sender.lower()
    accepted = (address, "*@" + address.rpartition("@")[2], "*")
    return any(pattern.lower() in accepted for pattern in patterns.split())


def first_sender(connection: sa.Connection) -> tuple[str, str] | None:
    """Return name and address that the first enabled connection sends from, if there is one."""
    row = connection.execute(
        sa.select(Connection.sender_name, Connection.sender_address)
        .where(Connection.enabled)
        .order_by(Connection.position, Connection.id)
        .limit(1)
    ).first()
    return None if row is None else (row.sender_name, row.sender_address)


def find(connection: sa.Connection, wanted: str | int) -> int:
    """Return the id of the connection with this caption or number.

    Capitals make no difference in a caption. They are compared here, not by the database: each has
    its own idea of equal texts.

    :raises UnknownConnection: there is none; the message lists the captions.
    """
    captions = {
        row.id: row.caption
        for row in connection.execute(
            sa.select(Connection.id, Connection.caption).order_by(Connection.id)
        )
    }
    if isinstance(wanted, int):
        if wanted in captions:
            return wanted
    else:
        named = (key for key, one in captions.items() if one.casefold() == wanted.casefold())
        found = next(named, None)
        if found is not None:
            return int(found)
    there = f"There are: {', '.join(captions.values())}." if captions else "None is configured yet."
    raise UnknownConnection(f"There is no connection {wanted!r}. {there}")


def assign_waiting(connection: sa.Connection) -> int:
    """Give every waiting message without a connection one, and say how many got one.

    A message whose connection was disabled meanwhile counts, unless that was chosen on purpose: a
    worker may have had it in hand, or a person has put it back into the queue. One statement a
    sender, so that a long queue costs no more than a short one.
    """
    disabled = connection.execute(sa.select(Connection.id).where(~Connection.enabled)).scalars()
    lost = sa.and_(Message.connection_id.in_(disabled.all()), Message.pinned.is_(False))
    waiting = (
        sa.or_(Message.connection_id.is_(None), lost),
        Message.status.in_((Status.QUEUED, Status.HELD)),
    )
    senders = connection.execute(sa.select(Message.sender).where(*waiting).distinct()).scalars()
    changed = 0
    for sender in senders.all():
        chosen = choose(connection, sender)
        if chosen is not None:
            changed += connection.execute(
                sa.update(Message)
                .where(Message.sender == sender, *waiting)
                .values(connection_id=chosen)
            ).rowcount
    return changed


def withdraw(connection: sa.Connection, connection_id: int, *, pinned_too: bool) -> None:
    """Take the waiting messages away from a connection that is disabled or about to be deleted.

    :param pinned_too: also those for which the connection was chosen on purpose; when it is
        deleted they have no other hope.
    """
    conditions = [
        Message.connection_id == connection_id,
        Message.status.in_((Status.QUEUED, Status.HELD)),
    ]
    if not pinned_too:
        conditions.append(Message.pinned.is_(False))
    connection.execute(
        sa.update(Message).where(*conditions).values(connection_id=None, pinned=False)
    )
