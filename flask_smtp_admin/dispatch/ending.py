"""Catching SIGTERM and Ctrl-C while a worker runs.

Owns the signals' handlers. Must not know what is to be ended, nor how.
"""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending(ABC):
    """Whether a signal has asked for the end; ``act`` is what is done then."""

    def __init__(self) -> None:
        self.is_asked = False
        self._before: dict[signal.Signals, Any] = {}

    @abstractmethod
    def act(self) -> None:
        """Do what leads to the end. It must take no lock: the code that was interrupted may have it."""

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Catch the signals while the block lasts; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            # What is to be ignored stays so: a shell has Ctrl-C mean nothing to its background jobs.
            # None is a handler that was not set from Python, and could not be put back.
            self._before = {
                number: handler
                for number in SIGNALS
                if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
            }
            for number in self._before:
                signal.signal(number, self._end)
        try:
            yield
        finally:
            self.restore()

    def restore(self) -> None:
        """Have the signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        self.act()
