"""Messages that may be what stops the workers, and those that our own code stumbles over.

Owns what a crash means for the message that was in flight in it, and that a suspect is tried alone. Must
not know how it is found that a worker is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..models import Message, Status
from ..models.transition import move
from . import claim

CRASHES_TO_QUARANTINE = 3
REST_AFTER_CRASH = timedelta(minutes=1)
"""A message that may be what stops the workers lets the others go first."""
APART_AFTER_CRASH = timedelta(seconds=30)
"""So much later comes each of several that were in flight in the same two crashes. One of them may be
what stops the workers: side by side again, all would be put into quarantine with it."""
CRASHES_TO_SUSPECT = CRASHES_TO_QUARANTINE - 1
"""From so many on it is tried while no other such message is: see :func:`put_off`."""

UNKNOWN = (
    "The worker stopped while this message was under way; whether the server took it is not known."
)


def after_crash(
    row: Any, mark: Any, now: datetime, turns: Iterator[int]
) -> tuple[Status, dict[str, object]]:
    """Return what becomes of a message that was in flight when its worker stopped.

    :param turns: counts the suspects, which come one after the other.
    """
    crashes = row.crash_count + 1
    values: dict[str, object] = {
        "crash_count": crashes,
        "last_attempt_at": mark.started_at,
        "reason": UNKNOWN,
    }
    if row.at_most_once:
        values["reason"] = (
            f"{UNKNOWN} It is held because it must not be sent twice. Look into the server's log or "
            "ask the recipient; then release or delete it."
        )
        return Status.HELD, values
    if crashes >= CRASHES_TO_QUARANTINE:
        values["reason"] = (
            f"In quarantine: {crashes} workers stopped while this message was under way. Look into the "
            "workers' logs for the cause; then release or delete it."
        )
        return Status.HELD, values
    if crashes >= CRASHES_TO_SUSPECT:
        values["due_at"] = now + REST_AFTER_CRASH + next(turns) * APART_AFTER_CRASH
    return Status.QUEUED, values


def put_off(connection: sa.Connection, message: claim.Claimed, now: datetime) -> bool:
    """Have a message wait that may be what stops the workers, while another such one is tried.

    Their due times keep them apart only where somebody looks in between. ``False``: it may be tried.
    Of those that are claimed, all but the last one wait. That one is seen by whoever looks later, also
    before it is marked.
    """
    others = sa.select(Message.id).where(
        Message.status == Status.SENDING,
        Message.crash_count >= CRASHES_TO_SUSPECT,
        Message.id != message.id,
    )
    if connection.execute(others.limit(1)).first() is None:
        return False
    move(
        connection,
        Status.QUEUED,
        Message.id == message.id,
        Message.lease_token == message.lease_token,
        from_={Status.SENDING},
        values={"lease_token": None, "lease_until": None, "due_at": now + APART_AFTER_CRASH},
    )
    return True


def put_aside(
    connection: sa.Connection, message: claim.Claimed, now: datetime, error: Exception
) -> None:
    """Have a message wait that our own code stumbled over, so that it does not stop the others.

    After so many times it is in quarantine. One that was in flight is left to :func:`rescue`, when
    the lease has ended that it was under.
    """
    crashes = Message.crash_count + 1
    reason = f"The worker's log has the traceback. {error}"[:1000]
    mine = (
        Message.id == message.id,
        Message.lease_token == message.lease_token,
        ~claim.in_flight(),
    )
    free: dict[str, object] = {
        "lease_token": None,
        "lease_until": None,
        "crash_count": crashes,
        "reason": f"flask-smtp-admin failed on this message; it is tried again in a minute. {reason}",
    }
    move(
        connection,
        Status.HELD,
        *mine,
        crashes >= CRASHES_TO_QUARANTINE,
        from_={Status.SENDING},
        values={
            **free,
            "reason": "In quarantine: flask-smtp-admin failed on this message too often. Release it "
            f"when that is mended, or delete it. {reason}",
        },
    )
    move(
        connection,
        Status.QUEUED,
        *mine,
        from_={Status.SENDING},
        values={**free, "due_at": now + REST_AFTER_CRASH},
    )
    claim.disown(connection, message)
