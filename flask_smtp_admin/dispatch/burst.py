"""Delivery that ends when nothing is due any more: a cron job, the end of a script.

Owns the wait for what a worker that is gone had in hand. Must not know who reads what it says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..core import Core
from ..worker import Worker
from .ending import Ending

LOOK_EVERY = 0.5
"""Seconds."""


class _Ending(Ending):
    """The first signal has the messages in hand finished, the second ends at once."""

    def __init__(self) -> None:
        super().__init__()
        self._worker: Worker | None = None

    def concerns(self, worker: Worker) -> Worker:
        """Have this worker end, from now on; at once, if the signal has come already."""
        self._worker = worker
        if self.is_asked:
            worker.end_soon()
        return worker

    def act(self) -> None:
        """Let the worker end."""
        self.restore()
        if self._worker is not None:
            self._worker.end_soon()


def deliver_due(core: Core, *, sessions: int | None, say: Callable[[str], object]) -> int:
    """Deliver what is due, and then what a worker that is gone had in hand.

    SIGTERM and Ctrl-C let it finish the messages in hand and release the rest.

    :param sessions: SMTP sessions at most; ``None`` is ``SMTP_ADMIN_SESSIONS``.
    :param say: is told why it takes longer, in a sentence.
    :returns: how many messages their servers accepted.
    :raises OutboxUnavailable: the database is away.
    """
    ending = _Ending()
    with ending.on_signals():
        worker = ending.concerns(Worker(core, kind="burst", sessions=sessions))
        sent = worker.drain(sweeps=True)
        if ending.is_asked or not worker.has_left():
            return sent
        seconds = worker.pace.doubt
        say(
            "A worker had messages in hand and has not been heard of. It may have been cut off from "
            f"the database just now: in {math.ceil(seconds)} s they are taken back, if it stays so."
        )
        last = Worker(core, kind="burst", sessions=sessions, clockwork=worker.clockwork)
        take_back_what_is_left(ending.concerns(last), until_asked=lambda: ending.is_asked)
        return sent + last.drain()


def take_back_what_is_left(
    worker: Worker, *, until_asked: Callable[[], bool] = lambda: False
) -> None:
    """Sweep until nothing is left of workers that are gone, but no longer than it takes to be certain.

    :param until_asked: tells that it is to end earlier.
    :raises OutboxUnavailable: the database is away.
    """
    until = time.monotonic() + worker.pace.doubt + LOOK_EVERY
    while worker.has_left() and time.monotonic() < until and not until_asked():
        time.sleep(LOOK_EVERY)
        worker.sweep()
