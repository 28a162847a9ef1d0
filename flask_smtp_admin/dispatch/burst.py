"""Delivery that ends when nothing is due any more: a cron job, the end of a script.

Owns the wait for what a worker that is gone had in hand. Must not know who reads what it says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..core import Core
from ..worker import Worker

LOOK_EVERY = 0.5
"""Seconds."""


def deliver_due(core: Core, *, sessions: int | None, say: Callable[[str], object]) -> int:
    """Deliver what is due, and then what a worker that is gone had in hand.

    :param sessions: SMTP sessions at most; ``None`` is ``SMTP_ADMIN_SESSIONS``.
    :param say: is told why it takes longer, in a sentence.
    :returns: how many messages their servers accepted.
    """
    worker = Worker(core, kind="burst", sessions=sessions)
    worker.sweep()
    sent = worker.drain()
    if not worker.has_left():
        return sent
    seconds = worker.pace.doubt
    say(
        "A worker had messages in hand and has not been heard of. It may have been cut off from the "
        f"database just now: in {math.ceil(seconds)} s they are taken back, if it stays so."
    )
    last = Worker(core, kind="burst", sessions=sessions, clockwork=worker.clockwork)
    take_back_what_is_left(last)
    return sent + last.drain()


def take_back_what_is_left(worker: Worker) -> None:
    """Sweep until nothing is left of workers that are gone, but no longer than it takes to be certain.

    :raises OutboxUnavailable: the database is away.
    """
    until = time.monotonic() + worker.pace.doubt + LOOK_EVERY
    while worker.has_left() and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        worker.sweep()
