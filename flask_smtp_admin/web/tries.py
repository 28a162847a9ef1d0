"""The tries of a message from before it was put back into the queue.

Who retries a message that was given up gives it a new set of tries, whose count begins anew. Owns
telling the sets apart, from the log. Must not know how a page shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_smtp_admin.models import Attempt, Flight, Message


def earlier(session: Session, messages: Sequence[Message]) -> dict[int, int]:
    """Return how many counted tries each message had before its present set, where it had any."""
    made = session.execute(
        sa.select(
            Attempt.message_id,
            sa.func.count(),
            # Each set that has a counted try has one with the number 1.
            sa.func.sum(sa.case((Attempt.number == 1, 1), else_=0)),
        )
        .where(
            Attempt.message_id.in_([message.id for message in messages]),
            Attempt.counted,
        )
        .group_by(Attempt.message_id)
    )
    found = {number: (total, sets) for number, total, sets in made}
    before = {}
    for message in messages:
        total, sets = found.get(message.id, (0, 0))
        if sets > bool(message.attempts_count):
            before[message.id] = total - message.attempts_count
    return before


def put_back(attempts: Sequence[Attempt]) -> frozenset[int]:
    """Return which attempts came after the message was put back.

    :param attempts: of one message, the newest first.
    """
    found: set[int] = set()
    in_order = [*reversed(attempts)]
    for before, attempt in pairwise(in_order):
        if _is_anew(attempt, before) or before.id in found:
            found.add(attempt.id)
    return frozenset(found)


def is_put_back(flight: Flight, attempts: Sequence[Attempt], after: frozenset[int]) -> bool:
    """Tell whether an attempt in progress came after the message was put back.

    :param after: what :func:`put_back` says of those that have ended.
    """
    return bool(attempts) and (_is_anew(flight, attempts[0]) or attempts[0].id in after)


def _is_anew(attempt: Attempt | Flight, before: Attempt) -> bool:
    # A try that was not counted, for trouble of the connection, has its number used again.
    return attempt.number == 1 and (before.counted or before.number > 1)
