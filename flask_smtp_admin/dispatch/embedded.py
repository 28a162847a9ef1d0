"""Delivery by a thread of the application's own process, where there is no Redis.

Owns the thread: started by the first request or the first message, again after a fork, stopped at
the end of the process. Several processes may each have one; claiming keeps them apart.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from dataclasses import replace
from functools import partial

import sqlalchemy as sa

from ..core import Core
from ..delivery.lease import Clockwork
from ..forked import Forked
from ..worker import Worker
from .burst import take_back_what_is_left
from .forking import ForkGate

logger = logging.getLogger(__name__)

HAND_SECONDS = 10
"""Seconds at least that the message in hand has at the end of the process."""


class EmbeddedBell:
    """Wakes the thread, and starts it when this process has none."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._gate = ForkGate()
        self._engine: sa.Engine | None = None
        self._has_ended = False
        self._is_registered = False
        self.after_fork()
        _bells.add(self)

    def after_fork(self) -> None:
        """Begin anew in a child process, which has neither the thread nor a right to its links."""
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        if self._engine is not None:
            self._engine.dispose(close=False)
            self._engine = None

    def ring(self) -> None:
        """Tell the thread that there is work."""
        with self._lock:
            if self._has_ended:
                return
            if self._thread is None or not self._thread.is_alive():
                self._start()
            if self._worker is not None:
                self._worker.bell.ring()

    def _start(self) -> None:
        self._engine = self._core.database.bare_engine
        core = replace(self._core, database=self._core.database.watched(self._gate.use))
        worker = Worker(core, kind="embedded")
        thread = threading.Thread(target=worker.run, name="smtp-admin-worker", daemon=True)
        if not self._is_registered:
            atexit.register(self._finish)
            self._is_registered = True
        thread.start()
        self._worker, self._thread = worker, thread

    def _finish(self) -> None:
        """Deliver what is due before the process ends, so that a short-lived one loses no time."""
        with self._lock:
            self._has_ended = True
            worker, thread = self._worker, self._thread
        if worker is None or thread is None:
            return
        seconds = self._core.config.exit_seconds
        worker.stop()
        thread.join(max(seconds, HAND_SECONDS))
        if thread.is_alive():
            logger.warning("The process ends, and does not wait any longer: %s", worker.waits_for())
        elif seconds:
            # In this thread: at the end of the interpreter no other can be started.
            try:
                self._deliver_the_rest(worker.clockwork, seconds)
            except Exception:
                logger.exception("What was due could not be delivered at the end of the process.")

    def _deliver_the_rest(self, clockwork: Clockwork, seconds: float) -> None:
        """Deliver what is due, and then what an earlier process had in hand when it was killed.

        Where every process ends soon, none would ever be sure that nobody else has that in hand.
        """
        last = partial(Worker, self._core, kind="embedded", clockwork=clockwork)
        until = time.monotonic() + seconds
        last().drain_alone(seconds=seconds, patience=seconds)
        if last().has_left():
            take_back_what_is_left(last())
            rest = max(until - time.monotonic(), 1.0)
            last().drain_alone(seconds=rest, patience=rest)


_bells = Forked(EmbeddedBell.after_fork)
