"""Telling the host's receivers of what happened, without waiting for them.

Owns the order, and how many events are told at a time: a sweep may have very much to say, and each
receiver may want a connection of the database. Must not know who hears of it, nor where threads come from.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..signals import Event

MOST_UNTOLD = 1000
"""Events that may wait before nothing more should be begun of which there is much to tell."""


def few_at_once(publish: Callable[[Event], None], most: int) -> Callable[[Event], None]:
    """Return what tells an event as ``publish`` does, when fewer than so many others are being told."""
    room = threading.BoundedSemaphore(most)

    def tell(event: Event) -> None:
        with room:
            publish(event)

    return tell


class Aside:
    """Tells events one after the other. Thread-safe.

    :param publish: tells one, and takes as long as its receivers do.
    :param start: runs something elsewhere; ``False`` if that cannot be, and it is to be done here.
    """

    def __init__(
        self, publish: Callable[[Event], None], start: Callable[[Callable[[], None]], bool]
    ) -> None:
        self._publish = publish
        self._start = start
        self._lock = threading.Lock()
        self._untold: deque[Event] = deque()
        self._is_telling = False

    def tell(self, event: Event) -> None:
        """Have it told, after those that are waiting."""
        with self._lock:
            self._untold.append(event)
            is_telling, self._is_telling = self._is_telling, True
        if not is_telling and not self._start(self._tell_all):
            self._tell_all()

    @property
    def is_telling(self) -> bool:
        """Whether somebody is being told of something."""
        return self._is_telling

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that no more should be added."""
        return len(self._untold) >= MOST_UNTOLD

    def _tell_all(self) -> None:
        try:
            while (event := self._next()) is not None:
                self._publish(event)
        except BaseException:
            with self._lock:
                self._is_telling = False
            raise

    def _next(self) -> Event | None:
        with self._lock:
            if self._untold:
                return self._untold.popleft()
            self._is_telling = False
            return None
