"""The open SMTP sessions of a worker that no lane has: kept for the next message, or being ended.

Owns which session is free and when an idle one is ended. Must not know messages.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

from ..smtp import Endpoint, Session

IDLE_SECONDS = 20.0
"""Servers close idle sessions after minutes (RFC 5321 section 4.5.3.2.7 asks for 5); ours end
earlier, so that they take no place that somebody else needs."""


@dataclass(frozen=True)
class _Idle:
    connection_id: int
    session: Session
    since: float


class Rack:
    """Sessions by the connection that they were opened for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = True
        self._idle: list[_Idle] = []
        self._ending: dict[Session, int] = {}
        self._promised: Counter[int] = Counter()

    # --- for lanes --------------------------------------------------------------------------------

    def take(self, connection_id: int, endpoint: Endpoint) -> Session | None:
        """Return an idle session to exactly this endpoint, the one used last, or ``None``."""
        with self._lock:
            for place in reversed(range(len(self._idle))):
                one = self._idle[place]
                if one.connection_id == connection_id and one.session.endpoint == endpoint:
                    self._promised[connection_id] = max(0, self._promised[connection_id] - 1)
                    return self._idle.pop(place).session
        return None

    def put_back(self, connection_id: int, session: Session) -> bool:
        """Keep a session for the next message; ``False``: it is to be ended instead."""
        with self._lock:
            if self._is_open:
                self._idle.append(_Idle(connection_id, session, time.monotonic()))
            return self._is_open

    def retire(self, connection_id: int, session: Session) -> None:
        """Count a session as open until :meth:`end` has ended it."""
        with self._lock:
            self._ending[session] = connection_id

    # --- for the worker ---------------------------------------------------------------------------

    def connections(self) -> set[int]:
        """Return the numbers of the connections that have idle sessions."""
        with self._lock:
            return {one.connection_id for one in self._idle}

    def count(self, connection_id: int) -> int:
        """Return how many sessions of a connection are open, though no lane has them."""
        with self._lock:
            idle = sum(one.connection_id == connection_id for one in self._idle)
            return idle + sum(number == connection_id for number in self._ending.values())

    def ready(self, connection_id: int, endpoint: Endpoint) -> int:
        """Return how many of them the next lanes can use."""
        with self._lock:
            return sum(
                one.connection_id == connection_id and one.session.endpoint == endpoint
                for one in self._idle
            )

    def promise(self, connection_id: int, most: int, more: int = 0) -> None:
        """Keep sessions for lanes that are about to take them, and have no seat for others.

        :param most: lanes that are yet to take one.
        :param more: sessions that are promised to new ones.
        """
        with self._lock:
            self._promised[connection_id] = min(self._promised[connection_id] + more, most)

    def _unpromised(self, some: list[_Idle]) -> list[_Idle]:
        """Return those that nobody was promised; the newest ones are kept."""
        free: list[_Idle] = []
        kept: Counter[int] = Counter()
        for one in reversed(self._idle):
            if kept[one.connection_id] < self._promised[one.connection_id]:
                kept[one.connection_id] += 1
            elif one in some:
                free.append(one)
        return free[::-1]

    def stale(self, older_than: float | None = None) -> list[Session]:
        """Take out the sessions that have not been used for so many seconds, to be ended.

        :param older_than: default: :data:`IDLE_SECONDS`.
        """
        limit = time.monotonic() - (IDLE_SECONDS if older_than is None else older_than)
        with self._lock:
            stale = [one for one in self._idle if one.since <= limit]
            return self._taken_out(self._unpromised(stale) if self._is_open else stale)

    def surplus(self, connection_id: int, keep: int) -> list[Session]:
        """Take out the sessions beyond so many, those used last not being among them."""
        with self._lock:
            idle = [one for one in self._idle if one.connection_id == connection_id]
            return self._taken_out(self._unpromised(idle[: max(len(idle) - keep, 0)]))

    def cede(self, connection_id: int, most: int) -> list[Session]:
        """Take out sessions that others have now, so many at most, those used longest ago first."""
        with self._lock:
            idle = [one for one in self._idle if one.connection_id == connection_id]
            return self._taken_out(self._unpromised(idle)[:most])

    def outdated(self, connection_id: int, endpoint: Endpoint) -> list[Session]:
        """Take out the sessions that lead where the connection led before it was changed."""
        with self._lock:
            return self._taken_out(
                [
                    one
                    for one in self._idle
                    if one.connection_id == connection_id and one.session.endpoint != endpoint
                ]
            )

    def _taken_out(self, some: list[_Idle]) -> list[Session]:
        self._idle = [one for one in self._idle if one not in some]
        self._ending.update({one.session: one.connection_id for one in some})
        return [one.session for one in some]

    def end(self, session: Session) -> None:
        """End a session that was taken out or retired; from then on it does not count."""
        try:
            session.quit()
        finally:
            with self._lock:
                self._ending.pop(session, None)

    def shut(self) -> list[Session]:
        """Keep no session any more, and take out all that are there, to be ended."""
        with self._lock:
            self._is_open = False
        return self.stale(older_than=0)

    def close(self) -> None:
        """Keep no session any more, and end all that are there, one after the other."""
        for session in self.shut():
            self.end(session)
