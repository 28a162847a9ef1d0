"""How a session waits: for its socket, and for what cannot be waited for but by blocking.

Owns the question and the plain answer, which blocks the thread. Must not know what is waited for,
nor who else may run meanwhile: somebody who drives many sessions at once answers in another way.
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Waiter(Protocol):
    """What a session asks for whatever takes time."""

    def until_ready(self, sock: socket.socket, seconds: float, *, to_write: bool) -> bool:
        """Wait until the socket can be read from, or written to; ``False``: the time is over.

        An error on the socket makes it ready.
        """
        ...

    def aside(self, act: Callable[[], T]) -> T:
        """Do something that blocks, a name lookup for instance, and return what it returns."""
        ...


class Poller(Protocol):
    """Says which of many sockets are ready; the part of :func:`select.poll` that is used here."""

    def register(self, number: int, wanted: int) -> None:
        """Look at a socket, by its file descriptor, for being readable or writable."""
        ...

    def unregister(self, number: int) -> None:
        """Look at it no more."""
        ...

    def poll(self, milliseconds: int | None) -> list[tuple[int, int]]:
        """Return the sockets that are ready; wait so long for the first of them."""
        ...


class _Selecting:
    """The same on Windows, which has no poll."""

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}

    def register(self, number: int, wanted: int) -> None:
        self._wanted[number] = wanted

    def unregister(self, number: int) -> None:
        del self._wanted[number]

    def poll(self, milliseconds: int | None) -> list[tuple[int, int]]:
        to_read = [number for number, wanted in self._wanted.items() if wanted == READABLE]
        to_write = [number for number, wanted in self._wanted.items() if wanted == WRITABLE]
        seconds = None if milliseconds is None else milliseconds / 1000
        # Connecting that failed is an exceptional state there, and nothing else.
        found = select.select(to_read, to_write, to_write, seconds)
        return [(number, self._wanted[number]) for number in set().union(*found)]


READABLE: int = getattr(select, "POLLIN", 1)
WRITABLE: int = getattr(select, "POLLOUT", 4)


def make_poller() -> Poller:
    """Return a poller without any socket."""
    poll: Callable[[], Poller] = getattr(select, "poll", _Selecting)
    return poll()


class Blocking:
    """Waits by blocking the thread."""

    def until_ready(self, sock: socket.socket, seconds: float, *, to_write: bool) -> bool:
        """Wait in the system's call for it."""
        poller = make_poller()
        poller.register(sock.fileno(), WRITABLE if to_write else READABLE)
        return bool(poller.poll(milliseconds(seconds)))

    def aside(self, act: Callable[[], T]) -> T:
        """Do it here and now."""
        return act()


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, rounded up: to wake too early would be to ask again at once."""
    return max(0, math.ceil(seconds * 1000))


BLOCKING = Blocking()
