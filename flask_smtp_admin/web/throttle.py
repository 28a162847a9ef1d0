"""How often one client may do something that is costly or tells of the network.

Owns counting within a span of time, in this process. Must not know what is counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Throttle:
    """Lets ``times`` acts of a client pass in any ``seconds``."""

    def __init__(
        self, times: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.times, self.seconds = times, seconds
        self._clock = clock
        self._acts: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """Count an act and return 0, or return the seconds until the next one may be done."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            acts = self._acts.setdefault(client, deque())
            if len(acts) >= self.times:
                return acts[0] + self.seconds - now
            acts.append(now)
            return 0.0

    def _forget(self, now: float) -> None:
        for client, acts in list(self._acts.items()):
            while acts and acts[0] <= now - self.seconds:
                acts.popleft()
            if not acts:
                del self._acts[client]
