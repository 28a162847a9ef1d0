"""The supplies of a worker, one for each connection that it works for.

Owns which one a lane joins, and the list of those that lanes work from, or have left sessions open.
Must not know what is in them.
"""

from __future__ import annotations

import threading
from functools import partial

from ..core import Core
from .lease import Leases
from .patience import Patience
from .rack import Rack
from .record import Carrier
from .supply import BATCH, Place, Supply


class Supplies:
    """All supplies of a worker. Thread-safe.

    :param rack: where sessions wait for the next message.
    """

    def __init__(
        self, core: Core, leases: Leases, patience: Patience, rack: Rack, *, largest: int = BATCH
    ) -> None:
        self._core = core
        self._patience = patience
        self._leases = leases
        self._rack = rack
        self._largest = largest
        self._lock = threading.Lock()
        self._known: list[Supply] = []

    def join(self, carrier: Carrier) -> Place:
        """Give a lane its place at the connection's supply, or at a new one.

        A connection that was changed gets a new one; the lanes of the old one end soon.
        """
        with self._lock:
            self._forget()
            for supply in self._known:
                place = supply.join() if supply.carrier == carrier else None
                if place is not None:
                    return place
            supply = self._new(carrier)
            self._known.append(supply)
            place = supply.join()
        assert place is not None
        return place

    def _new(self, carrier: Carrier) -> Supply:
        """Make a supply. The sessions that an earlier one has left open are its own."""
        hold_id = None
        for before in self._known:
            if before.keeps and before.carrier.id == carrier.id:
                hold_id, before.keeps = before.hold_id, 0
                break
        return Supply(
            self._core,
            carrier,
            self._leases,
            self._patience,
            largest=self._largest,
            idle=partial(self._rack.count, carrier.endpoint),
            hold_id=hold_id,
        )

    def _forget(self) -> None:
        self._known = [one for one in self._known if one.keeps or not one.is_closed]

    def open(self) -> list[Supply]:
        """Return those that lanes work from."""
        with self._lock:
            return [supply for supply in self._known if supply.is_open]

    def left(self) -> list[Supply]:
        """Return those that no lane works from any more, but that keep sessions open."""
        with self._lock:
            return [supply for supply in self._known if supply.keeps]
