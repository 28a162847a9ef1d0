"""The open SMTP sessions of a worker, kept for the next message.

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
    session: Session
    since: float


class Rack:
    """Idle sessions by the endpoint that they lead to. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Endpoint, list[_Idle]] = {}
        self._ending: Counter[Endpoint] = Counter()

    def take(self, endpoint: Endpoint) -> Session | None:
        """Return an idle session to exactly this endpoint, the one used last, or ``None``."""
        with self._lock:
            sessions = self._idle.get(endpoint)
            return sessions.pop().session if sessions else None

    def put_back(self, session: Session) -> None:
        """Keep a session for the next message."""
        with self._lock:
            idle = self._idle.setdefault(session.endpoint, [])
            idle.append(_Idle(session, time.monotonic()))

    def count(self, endpoint: Endpoint) -> int:
        """Return how many sessions to this endpoint are open, though no lane has them."""
        with self._lock:
            return len(self._idle.get(endpoint, ())) + self._ending[endpoint]

    def stale(self, older_than: float | None = None) -> list[Session]:
        """Take out the sessions that have not been used for so many seconds, to be ended.

        :param older_than: default: :data:`IDLE_SECONDS`.
        """
        limit = time.monotonic() - (IDLE_SECONDS if older_than is None else older_than)
        with self._lock:
            stale = [i for idle in self._idle.values() for i in idle if i.since <= limit]
            self._idle = {
                endpoint: kept
                for endpoint, idle in self._idle.items()
                if (kept := [i for i in idle if i.since > limit])
            }
            return self._to_be_ended(stale)

    def surplus(self, endpoint: Endpoint, keep: int) -> list[Session]:
        """Take out the sessions beyond so many, those that were used last not being among them."""
        with self._lock:
            idle = self._idle.get(endpoint, [])
            many = max(len(idle) - keep, 0)
            surplus, self._idle[endpoint] = idle[:many], idle[many:]
            return self._to_be_ended(surplus)

    def _to_be_ended(self, idle: list[_Idle]) -> list[Session]:
        sessions = [one.session for one in idle]
        self._ending.update(session.endpoint for session in sessions)
        return sessions

    def end(self, session: Session) -> None:
        """End a session that was taken out for that; until then it counts as open."""
        try:
            session.quit()
        finally:
            with self._lock:
                self._ending[session.endpoint] -= 1

    def close(self) -> None:
        """End all sessions."""
        for session in self.stale(older_than=0):
            self.end(session)
