"""Importing what only some processes need, when it is first needed.

Owns the lock under which that happens, for which a fork waits: a child process would find a module
half imported, by a thread that it does not have, and wait for it for ever. Must not know the modules.

Not for what is imported while another module is: who holds that one's lock must not wait for this.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 5.0
"""How long a fork waits for an import to end."""


class _Lock:
    """A lock that a fork takes, and that is free in the child."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._has_it = False

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            yield

    def before_fork(self) -> None:
        self._has_it = self._lock.acquire(timeout=PATIENCE_SECONDS)

    def in_parent(self) -> None:
        if self._has_it:
            self._lock.release()

    def in_child(self) -> None:
        self._lock = threading.RLock()


_lock = _Lock()


@contextmanager
def importing() -> Iterator[None]:
    """Import something inside the block, and let no fork come in between."""
    with _lock.held():
        yield


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.before_fork,
        after_in_parent=_lock.in_parent,
        after_in_child=_lock.in_child,
    )
