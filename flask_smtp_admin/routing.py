"""Which connection carries a message.

Owns the choice by sender pattern and order. Must not know delivery: whether the chosen connection
works today is decided there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from .bulk import Bulk, Runs
from .errors import UnknownConnection
from .models import BreakerState, Connection, ConnectionHealth, Message, Status


def choose(connection: Runs, sender: str) -> int | None:
    """Return the id of the connection for ``sender``, or ``None`` while no enabled one fits.

    A connection whose patterns name the sender comes before one that carries everybody; within
    each kind the order of the list decides.
    """
    row = _CHOICE.first(connection, choosing(sender))
    return None if row is None else row[0]


def choosing(sender: str) -> dict[str, str]:
    """Return the parameters that :data:`CHOICE` takes: what names ``sender`` in a list of patterns.

    That is its address and ``*@domain``, each as a line, beside ``*``.
    """
    address = sender.lower()
    domain = address.rpartition("@")[2]
    return {"choosing_address": f"\n{address}\n", "choosing_domain": f"\n*@{domain}\n"}


_LINES = (
    sa.literal_column("'\n'").concat(Connection.sender_patterns).concat(sa.literal_column("'\n'"))
)
"""The patterns, which are stored one a line and in small letters."""


def _hold(line: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Tell whether the patterns hold a line: without it they are shorter.

    Not by LIKE, which takes one letter for another where the collation does.
    """
    rest = sa.func.replace(_LINES, line, sa.literal_column("''"))
    return sa.func.length(rest) < sa.func.length(_LINES)


def works(health: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a connection is known to work. Parameter as for :func:`may_work`."""
    return sa.or_(health.breaker.is_(None), health.breaker == BreakerState.CLOSED)


def may_work(
    health: Any, now: datetime | sa.BindParameter[datetime | None]
) -> sa.ColumnElement[bool]:
    """Return the condition that a connection works, or that it is time to try whether it does.

    Only what is sent tells that: one that has nothing to send would never be found to work again.

    :param health: the class of its health, or an alias of that, joined from outside.
    """
    return sa.or_(works(health), health.retry_at <= now)


def choose_instead(
    connection: sa.Connection, sender: str, broken_id: int, now: datetime
) -> int | None:
    """Return the id of the connection that takes over for a broken one, if there is any.

    It carries the same senders by the same right: who has senders of its own is replaced by
    another that names them, who carries everybody else by another that does. Those that are known to
    work come before those that are to be tried again; among them the order of the list decides.
    """
    broken = aliased(Connection)
    same_right = (
        sa.select(broken.sender_patterns == sa.literal_column("''"))
        .where(broken.id == broken_id)
        .scalar_subquery()
    )
    others = (
        sa.select(Connection.id)
        .outerjoin(ConnectionHealth, ConnectionHealth.connection_id == Connection.id)
        .where(
            Connection.id != broken_id,
            *_CARRYING,
            same_right == _CARRIES_ALL,
            may_work(ConnectionHealth, now),
        )
        .order_by(
            sa.case((works(ConnectionHealth), 0), else_=1), Connection.position, Connection.id
        )
        .limit(1)
    )
    found: int | None = connection.execute(others, choosing(sender)).scalar()
    return found


_CARRIES_ALL = Connection.sender_patterns == sa.literal_column("''")
_CARRYING = (
    Connection.enabled,
    sa.or_(
        _CARRIES_ALL,
        _hold(sa.bindparam("choosing_address", type_=sa.String)),
        _hold(sa.bindparam("choosing_domain", type_=sa.String)),
        _hold(sa.literal_column("'\n*\n'")),
    ),
)
CHOICE = (
    sa.select(Connection.id)
    .where(*_CARRYING)
    .order_by(_CARRIES_ALL, Connection.position, Connection.id)
    .limit(sa.literal_column("1"))
    .offset(sa.literal_column("0"))
)
"""What :func:`choose` asks, for a statement that has to ask it within."""
_CHOICE = Bulk(CHOICE)


def first_sender(connection: sa.Connection) -> tuple[str, str] | None:
    """Return name and address that the first enabled connection sends from, if there is one."""
    row = connection.execute(
        sa.select(Connection.sender_name, Connection.sender_address)
        .where(Connection.enabled)
        .order_by(Connection.position, Connection.id)
        .limit(1)
    ).first()
    return None if row is None else (row.sender_name, row.sender_address)


def find(connection: Runs, wanted: str | int) -> int:
    """Return the id of the connection with this caption or number.

    Capitals make no difference in a caption. They are compared here, not by the database: each has
    its own idea of equal texts.

    :raises UnknownConnection: there is none; the message lists the captions.
    """
    captions: dict[int, str] = dict(map(tuple, _CAPTIONS.all(connection)))
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


_CAPTIONS = Bulk(sa.select(Connection.id, Connection.caption).order_by(Connection.id))


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
