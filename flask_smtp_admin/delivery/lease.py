"""The lease of a batch, as the process that holds it sees it.

Owns the answer to "may I still send?" by the monotonic clock, which a stopped process, a changed
system clock or a late renewal cannot fool. Must not know the database.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Pace:
    """How long a lease lasts and how often a worker looks after things.

    Together they bound the time until the message of a killed worker is tried again: the lease,
    and the time to the next sweep.
    """

    lease: timedelta = timedelta(seconds=45)
    margin: float = 2.0
    """Seconds before a lease's end from which nothing is sent any more."""
    renew_every: float = 15.0
    """Seconds. Two renewals may fail before a lease ends."""
    sweep_every: float = 15.0
    """Seconds."""


class Lease:
    """One lane's lease on the messages of its batch."""

    def __init__(self, lasts: timedelta, margin: float) -> None:
        self.token = str(uuid.uuid4())
        self.lasts = lasts
        self._margin = margin
        self._ends = time.monotonic() + lasts.total_seconds()

    def holds(self) -> bool:
        """Tell whether the messages are still ours for sure."""
        return time.monotonic() < self._ends - self._margin

    def renewed(self, asked_at: float) -> None:
        """Note that the database has prolonged it.

        :param asked_at: monotonic time *before* the statement was sent.
        """
        self._ends = asked_at + self.lasts.total_seconds()


class Leases:
    """All leases that a worker holds now, for the thread that renews them."""

    def __init__(self, lasts: timedelta, margin: float) -> None:
        self.lasts = lasts
        self._margin = margin
        self._lock = threading.Lock()
        self._held: set[Lease] = set()

    def new(self) -> Lease:
        """Make a lease and keep it for renewal."""
        lease = Lease(self.lasts, self._margin)
        with self._lock:
            self._held.add(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._held.discard(lease)

    def renewable(self) -> list[Lease]:
        """Return the leases to renew.

        One that has ended is not among them: another worker may have its messages by now, and
        renewing it would let a process that had been stopped send them a second time.
        """
        with self._lock:
            return [lease for lease in self._held if lease.holds()]
