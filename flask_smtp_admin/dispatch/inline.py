"""Delivery in the calling thread, as soon as the message is committed.

Owns keeping it from calling itself. For tests, and for a database in memory.
"""

from __future__ import annotations

import threading

from ..core import Core
from ..worker import Worker


class InlineBell:
    """Ringing delivers what is due before it returns."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._busy = threading.local()

    def ring(self) -> None:
        """Deliver what is due. A message sent by a signal receiver meanwhile is taken along."""
        if getattr(self._busy, "here", False):
            return
        self._busy.here = True
        try:
            Worker(self._core, kind="inline").drain(threads=False)
        finally:
            self._busy.here = False
