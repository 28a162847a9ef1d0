"""What begins anew in a child process, which has its parent's memory but none of its threads.

Owns the hook into the fork. Must not know what begins anew, nor how.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Forked(Generic[T]):
    """Objects that begin anew in each child process, for as long as somebody else has them.

    :param begin_anew: called in the child for each of them; it must not raise.
    """

    def __init__(self, begin_anew: Callable[[T], None]) -> None:
        self._begin_anew = begin_anew
        self._all: weakref.WeakSet[T] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.in_child)

    def add(self, one: T) -> None:
        """Have one more begin anew."""
        self._all.add(one)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._all))

    def in_child(self) -> None:
        """Have all of them begin anew. Called by the fork."""
        for one in self:
            self._begin_anew(one)
