"""Keeping a thread away from the database while the process forks.

Owns the gate that the thread's uses go through. Must not know what they are for.

A child process gets a copy of this one's memory, and with it SQLite's notes of which locks this
process holds. Were the thread in the middle of a write, the child would wait for ever for a lock
that nobody will release in it (https://www.sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 5.0
"""How long a fork waits for the uses to end; a database that hangs must not keep the process."""


class ForkGate:
    """Counts the uses that are going on, and lets none begin while the process forks."""

    def __init__(self) -> None:
        self.reset()
        _gates.add(self)

    def reset(self) -> None:
        """Begin anew in a child process, where the uses do not go on."""
        self._changed = threading.Condition()
        self._uses = 0
        self._of_thread: Counter[int] = Counter()
        self._forks = 0

    @contextmanager
    def use(self) -> Iterator[None]:
        """Wait until no fork is going on, and keep one from beginning inside the block.

        Who waits in a thread that has another use going on would keep that one from ending.
        """
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(
                lambda: not self._forks or self._of_thread[me] > 0, PATIENCE_SECONDS
            )
            self._uses += 1
            self._of_thread[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._uses -= 1
                self._of_thread[me] -= 1
                if not self._of_thread[me]:
                    del self._of_thread[me]
                self._changed.notify_all()

    def close(self) -> None:
        """Let no use begin, and wait for those that are going on."""
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: self._uses == 0, PATIENCE_SECONDS)

    def open(self) -> None:
        """Let uses begin again, once no other thread forks."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


_gates: weakref.WeakSet[ForkGate] = weakref.WeakSet()


def _before_fork() -> None:
    for gate in list(_gates):
        gate.close()


def _in_parent() -> None:
    for gate in list(_gates):
        gate.open()


def _in_child() -> None:
    for gate in list(_gates):
        gate.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
