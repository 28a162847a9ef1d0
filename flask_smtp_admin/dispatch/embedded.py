"""Delivery by a thread of the application's own process, where there is no Redis.

Owns the thread: started by the first request or the first message, again after a fork, stopped at
the end of the process. Several processes may each have one; claiming keeps them apart.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading

from ..core import Core
from ..worker import Worker

logger = logging.getLogger(__name__)


class EmbeddedBell:
    """Wakes the thread, and starts it when this process has none."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        """Tell the thread that there is work."""
        with self._lock:
            if self._pid != os.getpid() or self._thread is None or not self._thread.is_alive():
                self._start()
            assert self._worker is not None
            self._worker.bell.ring()

    def _start(self) -> None:
        first = self._pid is None
        self._pid = os.getpid()
        self._worker = Worker(self._core, kind="embedded")
        self._thread = threading.Thread(
            target=self._worker.run, name="smtp-admin-worker", daemon=True
        )
        self._thread.start()
        if first:
            atexit.register(self._finish)

    def _finish(self) -> None:
        """Deliver what is due before the process ends, so that a short-lived one loses no time."""
        worker, thread = self._worker, self._thread
        if worker is None or thread is None or self._pid != os.getpid():
            return
        worker.stop()
        thread.join()
        seconds = self._core.config.exit_seconds
        if seconds:
            try:
                Worker(self._core, kind="embedded").drain(seconds=seconds, threads=False)
            except Exception:
                logger.exception("What was due could not be delivered at the end of the process.")
