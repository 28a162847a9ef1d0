"""The lease of a batch, as the process that holds it sees it.

Owns the answer to "may I still send?" by the monotonic clock, which a stopped process, a changed
system clock or a late renewal cannot fool. Must not know the database.
"""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

LEASE = timedelta(seconds=45)
RENEW_EVERY = 15.0
"""Seconds. Two renewals may fail before a lease ends."""
MARGIN = 2.0
"""Seconds before the end at which nothing is sent any more."""


class Lease:
    """One lane's lease on the messages of its batch."""

    def __init__(self, lasts: timedelta) -> None:
        self.token = str(uuid.uuid4())
        self.lasts = lasts
        self._ends = time.monotonic() + lasts.total_seconds()

    def holds(self) -> bool:
        """Tell whether the messages are still ours for sure."""
        return time.monotonic() < self._ends - MARGIN

    def renewed(self, asked_at: float) -> None:
        """Note that the database has prolonged it.

        :param asked_at: monotonic time *before* the statement was sent.
        """
        self._ends = asked_at + self.lasts.total_seconds()


class Leases:
    """All leases that a worker holds now, for the thread that renews them."""

    def __init__(self, lasts: timedelta = LEASE) -> None:
        self.lasts = lasts
        self._lock = threading.Lock()
        self._held: set[Lease] = set()

    def new(self) -> Lease:
        """Make a lease and keep it for renewal."""
        lease = Lease(self.lasts)
        with self._lock:
            self._held.add(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._held.discard(lease)

    def held(self) -> list[Lease]:
        """Return the leases to renew."""
        with self._lock:
            return list(self._held)
