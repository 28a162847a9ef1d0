"""The supplies of a worker, one for each connection that it works for.

Owns which one a lane joins, and the list of those that lanes work from. Must not know what is in
them.
"""

from __future__ import annotations

import threading

from ..core import Core
from .lease import Leases
from .patience import Patience
from .record import Carrier
from .seats import Seats
from .supply import BATCH, Place, Supply

TURN_SECONDS = 1.0
"""What a lane has at least before it leaves in favour of another connection: each turn costs a claim."""


class Supplies:
    """All supplies of a worker. Thread-safe."""

    def __init__(
        self, core: Core, leases: Leases, patience: Patience, seats: Seats, *, largest: int = BATCH
    ) -> None:
        self._core = core
        self._patience = patience
        self._leases = leases
        self._seats = seats
        self._largest = largest
        self._lock = threading.Lock()
        self._open: list[Supply] = []

    def join(self, carrier: Carrier) -> Place:
        """Give a lane its place at the connection's supply, or at a new one.

        A connection that was changed gets a new one; the lanes of the old one end soon.
        """
        with self._lock:
            self._open = [supply for supply in self._open if supply.is_open]
            for supply in self._open:
                place = supply.join() if supply.carrier == carrier else None
                if place is not None:
                    return place
            supply = Supply(
                self._core,
                carrier,
                self._leases,
                self._patience,
                self._seats,
                largest=self._largest,
            )
            self._open.append(supply)
            place = supply.join()
        assert place is not None
        return place

    def stuck(self, connection_id: int, seconds: float) -> int:
        """Return how many lanes of a connection have waited for its server for longer than this."""
        return sum(
            supply.stuck(seconds) for supply in self.open() if supply.carrier.id == connection_id
        )

    def stuck_in_all(self, seconds: float) -> int:
        """Return how many lanes, over all connections, have waited for so long."""
        return sum(supply.stuck(seconds) for supply in self.open())

    def make_room(self, lanes: int, stuck_after: float) -> None:
        """Have so many lanes end that other connections need, those being counted that are about to.

        They come from the connection that has most, and leave after the message in hand.
        """
        supplies = self.open()
        for _ in range(lanes - sum(supply.leaving_count(stuck_after) for supply in supplies)):
            fullest = max(supplies, key=Supply.staying_count, default=None)
            if fullest is None or not fullest.ask_to_leave(1, after=TURN_SECONDS):
                return

    def give_up_lanes(self, connection_id: int, lanes: int) -> None:
        """Have so many lanes of a connection end, whose sessions are others' now."""
        for supply in self.open():
            if supply.carrier.id == connection_id:
                lanes -= supply.ask_to_leave(lanes, gives_up_session=True)

    def open(self) -> list[Supply]:
        """Return those that lanes work from."""
        with self._lock:
            return [supply for supply in self._open if supply.is_open]
