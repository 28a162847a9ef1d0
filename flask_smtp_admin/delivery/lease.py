"""The lease of a claim, as the process that holds it sees it.

Owns the answer to "may I still send?" by a clock that a stopped process, a suspended machine, a
changed system clock or a late renewal cannot fool. Must not know the database.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

CLOCK_STEP = 5.0
"""Seconds that a clock is off at once when it was set; less is the drift that is always there."""


def uptime() -> float:
    """Return the seconds since some time, of which no change of the system's clock takes any away.

    They go on while the machine is suspended: another one may take the messages meanwhile, by the
    clock of the database. Linux' monotonic clock stands still then (clock_gettime(2)), as does the
    one that Python has on macOS.
    """
    return time.monotonic() if _GOES_ON is None else time.clock_gettime(_GOES_ON)


_GOES_ON: int | None = (
    time.CLOCK_MONOTONIC if sys.platform == "darwin" else getattr(time, "CLOCK_BOOTTIME", None)
)


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
    renew_again_after: float = 2.0
    """Seconds after a renewal that failed."""
    sweep_every: float = 15.0
    """Seconds."""

    @property
    def distrust(self) -> float:
        """Seconds after a change of the clock in which every living worker has renewed its leases."""
        return self.renew_every * 1.4

    @property
    def doubt(self) -> float:
        """Seconds after its first look in which a worker does not know what was before.

        Had the database been away, living workers would try again and again to renew their leases, and
        would have done so by then.
        """
        return 2.5 * min(self.renew_again_after, self.renew_every)

    @property
    def window(self) -> float:
        """Seconds before a lease's end in which a living worker tries to renew it."""
        return max(self.lease.total_seconds() - self.renew_every, 0.0)

    @property
    def gap(self) -> float:
        """Seconds without a look at the database after which leases may have ended meanwhile."""
        return max(self.lease.total_seconds() - self.distrust, 0.0)


class Lease:
    """The lease on the messages of one claim.

    :param reserve: seconds that have to be left when the end of a message is sent: for how long a
        server may take over its reply, where nobody renews the lease meanwhile.
    """

    def __init__(self, lasts: timedelta, margin: float, reserve: float = 0.0) -> None:
        self.token = str(uuid.uuid4())
        self.lasts = lasts
        self.messages: set[int] = set()
        """Numbers of those that are under it, and not dealt with."""
        self._margin = margin
        self._reserve = reserve
        self._ends = uptime() + lasts.total_seconds()

    def holds(self) -> bool:
        """Tell whether the messages are still ours for sure."""
        return uptime() < self._ends - self._margin

    def lets_end(self) -> bool:
        """Tell whether the end of a message may be sent, behind which the server has it."""
        return uptime() < self._ends - self._margin - self._reserve

    def renewed(self, asked_at: float) -> None:
        """Note that the database has prolonged it.

        :param asked_at: the :func:`uptime` *before* the statement was sent.
        """
        self._ends = asked_at + self.lasts.total_seconds()


class Clockwork:
    """Whether the clock that leases go by can be trusted, as far as this process has seen it.

    A clock that was set forward makes every lease look as if it had ended. Living workers renew
    theirs within :attr:`Pace.renew_every`, by the new time; until then nothing is taken back. The
    same when the machine was suspended, and with it the other workers that may be there.

    The same when nobody could look for a while: then nobody could renew either. Who looks for the
    first time does not know what was before. Thread-safe.

    :param pause: seconds of distrust after the clock was set.
    :param gap: seconds without a look that are such a while.
    :param doubt: seconds of distrust after the first look. Default: ``pause``.
    :param window: seconds before a lease's end in which it should have been renewed.
    """

    def __init__(
        self,
        pause: float,
        gap: float = float("inf"),
        doubt: float | None = None,
        window: float = 0.0,
    ) -> None:
        self._pause = pause
        self._gap = gap
        self.doubt = pause if doubt is None else doubt
        self.window = window
        self._looked_at: float | None = None
        self._offsets: tuple[float, float] | None = None
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._shaken_until = float("-inf")

    def is_trusted(self, now: datetime) -> bool:
        """Look at the clock, and say whether it is known to have gone on evenly of late.

        :param now: by the clock of the database.
        """
        return self.is_steady(now) and not self.is_new

    @property
    def is_new(self) -> bool:
        """Whether the first look was only just now."""
        began_at = self._began_at
        return began_at is None or time.monotonic() - began_at < self.doubt

    @property
    def is_shaken(self) -> bool:
        """Whether it was set of late, or nobody could look."""
        return time.monotonic() < self._shaken_until

    def is_steady(self, now: datetime) -> bool:
        """Look at the clock, and say whether anything else is known of it.

        :param now: by the clock of the database.
        """
        with self._lock:
            return self._look(now)

    def _look(self, now: datetime) -> bool:
        monotonic = time.monotonic()
        # Only one of the two stands still while the machine is suspended.
        offsets = (now.timestamp() - uptime(), now.timestamp() - monotonic)
        was_set = self._offsets is not None and any(map(_differ, offsets, self._offsets))
        was_away = self._looked_at is not None and monotonic - self._looked_at > self._gap
        if was_set or was_away:
            self._shaken_until = monotonic + self._pause
        if self._began_at is None:
            self._began_at = monotonic
        self._offsets, self._looked_at = offsets, monotonic
        return monotonic >= self._shaken_until


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > CLOCK_STEP


class Leases:
    """All leases that a worker holds now, for the thread that renews them.

    :param clockwork: what is known of the clock that they go by. Default: that it is right.
    :param is_renewed: whether there is such a thread.
    """

    def __init__(
        self,
        lasts: timedelta,
        margin: float,
        clockwork: Clockwork | None = None,
        *,
        is_renewed: bool = True,
    ) -> None:
        self.lasts = lasts
        self._clockwork = clockwork
        self._is_renewed = is_renewed
        self._margin = margin
        self._lock = threading.Lock()
        self._held: set[Lease] = set()

    @property
    def is_lone(self) -> bool:
        """Whether nobody renews them."""
        return not self._is_renewed

    def ended_before(self, now: datetime) -> datetime | None:
        """Return when a lease of another worker must have ended, if that worker is gone.

        ``None``: it cannot be told, as even living ones may not have been able to renew theirs.

        :param now: by the clock of the database.
        """
        is_steady = self._clockwork is None or self._clockwork.is_steady(now)
        return now if is_steady else None

    def new(self, end_seconds: float = 0.0) -> Lease:
        """Make a lease and keep it for renewal.

        :param end_seconds: how long the end of a message may take, from its last bytes to the reply.
        """
        reserve = 0.0 if self._is_renewed else end_seconds
        lease = Lease(self.lasts + timedelta(seconds=reserve), self._margin, reserve)
        with self._lock:
            self._held.add(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._held.discard(lease)

    def messages(self) -> dict[str, frozenset[int]]:
        """Return what lanes of this process have yet to deal with: numbers, by the leases' tokens."""
        with self._lock:
            return {lease.token: frozenset(lease.messages) for lease in self._held}

    def held(self) -> list[Lease]:
        """Return the leases to renew."""
        with self._lock:
            return list(self._held)
