"""Delivery in the calling thread, as soon as the message is committed.

Owns keeping it from calling itself. For tests, and for a database in memory.
"""

from __future__ import annotations

import threading
import time

from ..core import Core
from ..delivery.lease import Clockwork
from ..worker import PACE, Worker


class InlineBell:
    """Ringing delivers what is due before it returns."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._busy = threading.local()
        self._swept_at = float("-inf")
        # It looks only when somebody rings, so that a while without a look means nothing.
        self._clockwork = Clockwork(PACE.distrust, doubt=PACE.doubt)

    def ring(self) -> None:
        """Deliver what is due. A message sent by a signal receiver meanwhile is taken along."""
        if getattr(self._busy, "here", False):
            return
        self._busy.here = True
        try:
            worker = Worker(self._core, kind="inline", clockwork=self._clockwork)
            # Nobody else looks after what a process that was killed has left.
            if time.monotonic() - self._swept_at >= worker.pace.sweep_every:
                # Noted before: one that takes long is not to be done by several threads.
                self._swept_at = time.monotonic()
                worker.sweep()
            worker.drain_alone()
        finally:
            self._busy.here = False
