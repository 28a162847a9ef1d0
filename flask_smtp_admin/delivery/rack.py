"""The open SMTP sessions of a worker, kept for the next message.

Owns which session is free and when an idle one is closed. Must not know messages.
"""

from __future__ import annotations

import threading
import time
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

    def stale(self, older_than: float = IDLE_SECONDS) -> list[Session]:
        """Take out the sessions that have not been used for so many seconds, to be ended."""
        limit = time.monotonic() - older_than
        with self._lock:
            stale = [i for idle in self._idle.values() for i in idle if i.since <= limit]
            self._idle = {
                endpoint: kept
                for endpoint, idle in self._idle.items()
                if (kept := [i for i in idle if i.since > limit])
            }
        return [one.session for one in stale]

    def close(self) -> None:
        """End all sessions."""
        for session in self.stale(older_than=0):
            session.quit()
