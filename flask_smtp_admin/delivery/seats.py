"""How many sessions this worker has with each server, so that all workers keep within the limit.

Owns the count, and what of it the database is told: that is never less than what is open. A lane has
a seat before it opens a session; sessions that wait for the next message, or are being ended, have
theirs, too. Must not know SMTP, nor what goes over a session.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from . import holds
from .rack import Rack
from .record import Carrier


@dataclass
class _Held:
    """What is held of one connection's sessions."""

    hold_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    lanes: int = 0
    """Lanes that have a seat."""
    seated: int = 0
    """Those of them that have had a session, so that none is promised to them any more."""
    asked: int = 0
    """Seats that are being asked for."""
    written: int = 0
    """What the database says, at most."""
    most: int = 0
    """What the connection allows to all workers together."""
    proposed: int = 0
    """What was written last, and may not be committed yet."""

    @property
    def waiting(self) -> int:
        """Lanes that are yet to have a session, and that may come."""
        return self.lanes - self.seated + self.asked


class Seats:
    """The seats of one worker. Thread-safe.

    :param rack: where the sessions are that no lane has.
    """

    def __init__(self, rack: Rack) -> None:
        self._rack = rack
        self._lock = threading.Lock()
        self._held: dict[int, _Held] = {}

    # --- for lanes that come and go ---------------------------------------------------------------

    @contextmanager
    def asking(self, carrier: Carrier) -> Iterator[Asking]:
        """Give what asks for seats; what it was granted and has not handed out is nobody's after it."""
        asking = Asking(self, carrier)
        try:
            yield asking
        finally:
            self._set_asked(asking, 0)

    def has_session(self, connection_id: int) -> None:
        """Note that a lane has a session for the first time, or could get none."""
        with self._lock:
            held = self._held[connection_id]
            held.seated += 1
            self._rack.promise(connection_id, held.waiting)

    def leave(self, connection_id: int, *, had_session: bool) -> None:
        """Note that a lane has gone; its session is in the rack, or closed."""
        with self._lock:
            held = self._held[connection_id]
            held.lanes -= 1
            held.seated -= int(had_session)
            self._rack.promise(connection_id, held.waiting)

    def spare(self, connection_id: int, workers: int) -> int:
        """Return how many sessions may wait for the next message, where there are so many workers."""
        with self._lock:
            held = self._of(connection_id)
            return max(0, held.most // workers - held.lanes - held.asked)

    # --- for the worker ---------------------------------------------------------------------------

    def held(self) -> list[int]:
        """Return the connections whose holds are to be renewed."""
        with self._lock:
            return [number for number, held in self._held.items() if held.written]

    def renew(
        self, connection: sa.Connection, connection_id: int, *, now: datetime, until: datetime
    ) -> int:
        """Let the hold on a connection's sessions last longer.

        :param now: by the clock of the database.
        :returns: how many sessions are too many now: the hold had ended, as when this process was
            stopped for longer, and others have taken what it had.
        """
        with self._lock:
            hold_id = self._of(connection_id).hold_id
        if holds.renew(connection, hold_id, now=now, until=until):
            return 0
        if not holds.lock(connection, connection_id):
            return 0
        others = holds.of_others(connection, hold_id, connection_id, now)
        with self._lock:
            held = self._of(connection_id)
            used, most = self._used(connection_id), held.most
        if used:
            holds.put(connection, hold_id, connection_id, used, until)
        return max(0, min(used, others + used - most))

    def too_many(self) -> list[int]:
        """Return the connections of which the database counts sessions that are closed."""
        with self._lock:
            return [
                number for number, held in self._held.items() if held.written > self._used(number)
            ]

    def write_down(self, connection: sa.Connection, connection_id: int) -> None:
        """Tell the database what is open. To be followed by :meth:`confirm`, after the commit."""
        holds.lock(connection, connection_id)
        with self._lock:
            held = self._of(connection_id)
            sessions = held.proposed = self._used(connection_id)
        holds.let_go(connection, held.hold_id, keep=sessions)

    def confirm(self, connection_id: int) -> None:
        """Note that what was written last is committed."""
        with self._lock:
            held = self._of(connection_id)
            held.written = held.proposed

    # --- counting ---------------------------------------------------------------------------------

    def _of(self, connection_id: int) -> _Held:
        return self._held.setdefault(connection_id, _Held())

    def _used(self, connection_id: int) -> int:
        held = self._of(connection_id)
        return held.lanes + held.asked + self._rack.count(connection_id)

    def _take(
        self,
        connection: sa.Connection,
        asking: Asking,
        *,
        wanted: int,
        gone: datetime | None,
        until: datetime,
    ) -> int:
        carrier = asking.carrier
        self._set_asked(asking, 0)  # of a try that failed
        holds.lock(connection, carrier.id)
        with self._lock:
            held = self._of(carrier.id)
            held.most = carrier.max_sessions
        others = holds.of_others(connection, held.hold_id, carrier.id, gone)
        with self._lock:
            # New lanes use the sessions that are open already, before they open any.
            idle = self._rack.ready(carrier.id, carrier.endpoint)
            used = self._used(carrier.id) - idle
            granted = max(0, min(wanted, carrier.max_sessions - others - used))
            sessions = used + max(granted, idle)
            if granted:
                held.proposed = sessions
                held.written = max(held.written, sessions)
        if granted:
            self._set_asked(asking, granted, promised=min(granted, idle))
            holds.put(connection, held.hold_id, carrier.id, sessions, until)
        return granted

    def _set_asked(self, asking: Asking, granted: int, promised: int = 0) -> None:
        with self._lock:
            held = self._of(asking.carrier.id)
            held.asked += granted - asking.granted
            asking.granted = granted
            self._rack.promise(asking.carrier.id, held.waiting, promised)

    def _hand_out(self, asking: Asking) -> bool:
        with self._lock:
            if not asking.granted:
                return False
            held = self._of(asking.carrier.id)
            held.asked -= 1
            asking.granted -= 1
            held.lanes += 1
            return True


class Asking:
    """Asks for seats in a transaction, and hands them out after it."""

    def __init__(self, seats: Seats, carrier: Carrier) -> None:
        self.carrier = carrier
        self.granted = 0
        self._seats = seats

    def take(
        self, connection: sa.Connection, *, wanted: int, gone: datetime | None, until: datetime
    ) -> int:
        """Write down that sessions are in use, and return for how many lanes: ``wanted``, or fewer.

        Must run in a write transaction; what an earlier one was granted is forgotten.

        :param gone: a hold of others that ended before is of a worker that is gone. By the clock of
            the database; ``None``: that cannot be told.
        :param until: when this one ends unless it is renewed.
        """
        return self._seats._take(  # noqa: SLF001  (one thing in two parts)
            connection, self, wanted=wanted, gone=gone, until=until
        )

    def hand_out(self) -> bool:
        """Give one of the seats to a lane; ``False``: there is none."""
        return self._seats._hand_out(self)  # noqa: SLF001
