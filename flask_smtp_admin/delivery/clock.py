"""The clock that all workers go by, on whatever machine they run: the database's.

Owns how far it is ahead of this machine's. Must not know what is timed. Limits, breakers and the
overview compare times that other machines have written, so a minute between their clocks would let
a limit of a minute through twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from ..core import Core

NOTICEABLE = timedelta(seconds=0.5)
"""What is less is the drift that is always there, and the time that asking takes."""


class SharedClock:
    """Tells the time by the database's clock, as it was at the last look."""

    def __init__(self, core: Core) -> None:
        self._own = core
        self._ahead = timedelta()
        self.core = replace(core, now=self.now, own_now=core.now)
        """The same core, going by this clock."""

    def now(self) -> datetime:
        """Return the present time."""
        return self._own.now() + self._ahead

    def look(self) -> None:
        """See how far this machine's clock is off.

        :raises OutboxUnavailable: the database is away.
        """
        with self._own.database.read() as connection:
            ahead = self._own.database.skew(connection)
        if abs(ahead - self._ahead) >= NOTICEABLE:
            self._ahead = ahead
