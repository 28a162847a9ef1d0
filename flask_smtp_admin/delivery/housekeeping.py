"""The sweep: what must happen although nobody rang.

Owns taking back the messages of workers that are gone, giving up expired ones, routing those that
had no connection, and having failover looked at. Must not know SMTP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import Any, TypeAlias

import sqlalchemy as sa

from ..core import Core
from ..models import Flight, Message, MessageBody, Recipient, Status, Worker, is_being_sent
from ..models.message import RecipientStatus
from ..models.transition import move
from ..routing import assign_waiting
from ..signals import Event
from . import claim, holds, record, suspects
from .failover import hand_over
from .lease import Clockwork

BATCH = 500
EXPIRED_AT_ONCE = 100
"""Fewer, as each of their recipients is told of."""
REMEMBER_HOLDS = timedelta(hours=1)
REMEMBER_ORPHANS = timedelta(days=1)

Held: TypeAlias = Mapping[str, Collection[int]]
"""What lanes of this process deal with, whatever the clock says: numbers, by the leases' tokens."""
NOTHING: Held = MappingProxyType({})


def _never() -> bool:
    return False


def sweep(
    core: Core,
    *,
    held: Held = NOTHING,
    clockwork: Clockwork | None = None,
    expires: bool = True,
    is_enough: Callable[[], bool] = _never,
) -> int:
    """Do all of it once, and return how many messages were taken back.

    :param clockwork: what this worker has seen of the clock; ``None``: it is to be trusted.
    :param expires: whether to give up expired ones.
    :param is_enough: asked where there is more; ``True`` leaves that to the next one.
    """
    rescued = rescue(core, held=held, clockwork=clockwork, is_enough=is_enough)
    if expires:
        expire(core, is_enough=is_enough)
    with core.database.write() as connection:
        assign_waiting(connection)
    hand_over(core)
    return rescued


def rescue(
    core: Core,
    *,
    held: Held = NOTHING,
    clockwork: Clockwork | None = None,
    is_enough: Callable[[], bool] = _never,
) -> int:
    """Take back messages whose lease ended. Parameters as for :func:`sweep`.

    One that is marked was in flight: it is tried again with the same Message-ID, or held when it
    must not go twice, or when it was in flight in three crashes. It is left alone while it may be that
    its worker lives, and had no chance yet to renew the lease. All others were provably not offered to
    a server and simply go back: their worker, should it live, finds that out before it offers them.
    """
    taken = 0
    after: int | None = 0
    while after is not None:
        some, after = _rescue_some(core, after, held, clockwork)
        taken += some
        if after is not None and is_enough():
            break
    return taken


def _rescue_some(
    core: Core, after: int, held: Held, clockwork: Clockwork | None
) -> tuple[int, int | None]:
    """Do it for a batch in one transaction.

    :param after: number of the last message that was looked at.
    :returns: how many were taken back, and the number to go on after, if there may be more.
    """
    now = core.now()
    with core.database.write() as connection:
        ended_before = core.database_time(connection)
        is_certain = clockwork is None or clockwork.is_trusted(ended_before)
        is_new = clockwork is not None and not clockwork.is_shaken
        signs = [] if is_certain else _signs_of_life(connection)
        rows = connection.execute(
            sa.select(
                Message.id,
                Message.lease_token,
                Message.crash_count,
                Message.at_most_once,
                Message.attempts_count,
                Message.sender,
                Message.subject,
                Message.first_recipient,
                Message.lease_until,
            )
            .where(
                Message.status == Status.SENDING,
                Message.lease_until < ended_before,
                *_not_in_hand(held),
                *(() if is_certain or is_new else (~claim.in_flight(),)),
                Message.id > after,
            )
            .order_by(Message.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        marks = _marks(connection, [row.id for row in rows])
        turns = count()
        taken = [
            row
            for row in rows
            if (
                is_certain
                or row.id not in marks
                or _is_lone(marks[row.id])
                or _could_renew(row.lease_until, signs, clockwork)
            )
            and _take_back(connection, row, marks.get(row.id), now, turns)
        ]
        holds.forget(connection, ended_before - REMEMBER_HOLDS)
        _forget_orphans(connection, now)
    for row in taken:
        if row.id in marks:
            core.publish(_event(row, now))
    return len(taken), rows[-1].id if len(rows) == BATCH else None


def _signs_of_life(connection: sa.Connection) -> list[datetime]:
    """Return when workers have reported themselves."""
    rows = connection.execute(sa.select(Worker.started_at, Worker.seen_at)).all()
    return [time for row in rows for time in row]


def _could_renew(
    lease_until: datetime, signs: Iterable[datetime], clockwork: Clockwork | None
) -> bool:
    """Tell whether a lease would have been renewed by a worker that lives.

    Others could use the database for a while after the renewal was due, in which it was tried again and
    again.
    """
    assert clockwork is not None
    since = lease_until - timedelta(seconds=clockwork.window)
    times = [time for time in signs if since <= time <= lease_until]
    return bool(times) and (max(times) - min(times)).total_seconds() >= clockwork.doubt


def _is_lone(mark: Any) -> bool:
    """Tell whether the lease of a message in flight is one that nobody renews, outage or not."""
    return str(mark.worker or "").startswith("inline:")


def _not_in_hand(held: Held) -> list[sa.ColumnElement[bool]]:
    return [
        ~sa.and_(Message.lease_token == token, Message.id.in_(numbers))
        for token, numbers in held.items()
        if numbers
    ]


def _marks(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, Any]:
    """Return the marks of messages that are locked, so that nobody adds one.

    Asked for in a statement of its own: one may have been made when that of the locks had begun.
    """
    if not numbers:
        return {}
    marks = connection.execute(
        sa.select(Flight.message_id, Flight.lease_token, Flight.started_at, Flight.worker).where(
            Flight.message_id.in_(numbers)
        )
    )
    return {mark.message_id: mark for mark in marks}


def _forget_orphans(connection: sa.Connection, now: datetime) -> None:
    """Remove marks of messages that are not being sent, as when somebody deleted rows by hand.

    Not at once: should it be sent all the same, the log has to say so.
    """
    # Looked for first, without a lock: most probably there are none.
    old = Flight.started_at < now - REMEMBER_ORPHANS
    orphans = sa.select(Flight.message_id).where(old, ~is_being_sent()).limit(BATCH)
    numbers = connection.execute(orphans).scalars().all()
    if numbers:
        connection.execute(
            sa.delete(Flight)
            .where(Flight.message_id.in_(numbers), ~is_being_sent())
            .execution_options(synchronize_session=False)
        )


def _take_back(
    connection: sa.Connection, row: Any, mark: Any, now: datetime, turns: Iterator[int]
) -> bool:
    status, values = (
        (Status.QUEUED, {}) if mark is None else suspects.after_crash(row, mark, now, turns)
    )
    mine = move(
        connection,
        status,
        Message.id == row.id,
        Message.lease_token == row.lease_token,
        from_={Status.SENDING},
        values={"lease_token": None, "lease_until": None, **values},
    )
    if mine and mark is not None:
        record.end_unknown(connection, row.id, mark.lease_token, suspects.UNKNOWN, now)
    return bool(mine)


def _event(row: Any, now: datetime) -> Event:
    return Event(
        code="delivery_failed",
        occurred_at=now,
        message_id=row.id,
        recipient=row.first_recipient,
        sender=row.sender,
        subject=row.subject,
        reply=suspects.UNKNOWN,
        attempt=row.attempts_count + 1,
    )


def expire(core: Core, *, is_enough: Callable[[], bool] = _never) -> int:
    """Give up messages that expired before they could be sent; return how many."""
    counts = [_expire_some(core)]
    while counts[-1] == EXPIRED_AT_ONCE and not is_enough():
        counts.append(_expire_some(core))
    return sum(counts)


def _expire_some(core: Core) -> int:
    """Do it for a batch in one transaction."""
    now = core.now()
    with core.database.write() as connection:
        rows = connection.execute(
            sa.select(
                Message.id,
                Message.sender,
                Message.subject,
                Message.attempts_count,
                Message.sensitive,
            )
            .where(
                Message.status.in_((Status.QUEUED, Status.HELD)),
                Message.expires_at.is_not(None),
                Message.expires_at <= now,
            )
            .limit(EXPIRED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        pending = _pending(connection, [row.id for row in rows])
        expired = [row for row in rows if _give_up(connection, row, now)]
    for row in expired:
        for address in pending[row.id]:
            core.publish(
                Event(
                    code="final_delivery_failed",
                    occurred_at=now,
                    message_id=row.id,
                    recipient=address,
                    sender=row.sender,
                    subject=row.subject,
                    reply=EXPIRED,
                    attempt=row.attempts_count,
                    final=True,
                )
            )
    return len(expired)


EXPIRED = "It expired before it could be delivered."


def _pending(connection: sa.Connection, numbers: list[int]) -> dict[int, list[str]]:
    """Return the addresses that wait, by the number of their message."""
    found: dict[int, list[str]] = defaultdict(list)
    if numbers:
        for row in connection.execute(
            sa.select(Recipient.message_id, Recipient.address)
            .where(Recipient.message_id.in_(numbers), Recipient.status == RecipientStatus.PENDING)
            .order_by(Recipient.id)
        ):
            found[row.message_id].append(row.address)
    return found


def _give_up(connection: sa.Connection, row: Any, now: datetime) -> bool:
    values = {"finished_at": now, "reason": EXPIRED}
    accepted = sa.exists().where(
        Recipient.message_id == Message.id, Recipient.status == RecipientStatus.SENT
    )
    from_ = {Status.QUEUED, Status.HELD}
    changed = move(
        connection, Status.FAILED, Message.id == row.id, ~accepted, from_=from_, values=values
    ) or move(
        connection, Status.PARTIAL, Message.id == row.id, accepted, from_=from_, values=values
    )
    if changed:
        connection.execute(
            sa.update(Recipient)
            .where(Recipient.message_id == row.id, Recipient.status == RecipientStatus.PENDING)
            .values(status=RecipientStatus.FAILED, reply=EXPIRED, finished_at=now)
        )
        if row.sensitive:
            connection.execute(sa.delete(MessageBody).where(MessageBody.message_id == row.id))
    return bool(changed)
