"""What a worker has claimed of one connection's messages, for all of its lanes.

Owns who gets which message next, when more is claimed, and how many lanes there may be. Must not
know SMTP, nor what becomes of a message.

One supply for all lanes: whoever is free takes the next message, so that a slow one holds up nobody
but its own lane; and messages that lie beside each other in the database are worked on at the same
time, which lets a commit change few of its pages.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ..bulk import Runs
from ..core import Core
from ..errors import OutboxUnavailable
from ..smtp import Endpoint
from . import breaker, claim, claim_in_one, record
from .claim import Claimed
from .lease import Lease, Leases
from .limits import allowance
from .patience import Patience
from .record import Carrier
from .seats import Asking, Seats

BATCH = 100
"""Messages at most of a claim."""
FIRST_A_LANE = 1
"""Messages for each lane of the first claim, when it is not known yet how fast the server is."""
FILLINGS = 3
"""So many claims are looked back: two may follow each other at once, when several lanes of a slow server
get their replies at the same moment."""
BATCH_SECONDS = 0.5
"""What a claim should last: a message that is urgent waits for no longer, and for those in hand."""
STALE_SECONDS = 2 * BATCH_SECONDS
"""What is claimed should have been sent by then. Where it is not, the server has become slower, and most
of it is given back: an urgent message would wait for all of it, and other workers could not have it."""
SLOW_SECONDS = 0.5
"""From so long a time for a message on, a lane is given the next one only when it is done."""


class Handed(NamedTuple):
    """A message that a lane may send, and the lease that it is under."""

    message: Claimed
    lease: Lease


@dataclass(frozen=True)
class Leaving:
    """What the last lane gives back.

    :param seats: and the number of the connection: what is written down of its sessions.
    :param leases: under which there are messages that have not been offered.
    """

    seats: Seats
    connection_id: int
    leases: tuple[Lease, ...]


class _Filling(NamedTuple):
    asked: int
    batch: list[Claimed]
    is_current: bool = True
    """Whether the connection is still as it was."""


class Supply:
    """The claimed messages of one connection. Thread-safe where it says so.

    :param largest: messages at most of a claim; 1 has each claimed when its turn has come.
    """

    def __init__(
        self,
        core: Core,
        carrier: Carrier,
        leases: Leases,
        patience: Patience,
        seats: Seats,
        *,
        largest: int = BATCH,
    ) -> None:
        self.carrier = carrier
        self.claimed_count = 0
        self._seats = seats
        self._core = core
        self._leases = leases
        self._patience = patience
        self._began_at = core.now()
        self._largest = largest
        self._refills = (
            claim_in_one.is_possible(core.database.bare_engine.dialect)
            and not carrier.limits.set_ones()
            and not leases.is_lone
        )
        self._is_refilling = False
        self._fitting: int | None = None
        self._lock = threading.Lock()
        self._is_open = True
        self._is_dry = False
        self._places: list[Place] = []
        self._pool: deque[Handed] = deque()
        self._outstanding: set[Lease] = set()
        self._finished = 0
        # When it was claimed the last few times, and how many were finished by then.
        self._fillings = deque([(time.monotonic(), 0)], maxlen=FILLINGS)

    # --- for the worker, from any thread --------------------------------------------------------

    def join(self) -> Place | None:
        """Give a lane its place; ``None``: the last lane has left, and a new supply is needed."""
        place = Place(self)
        with self._lock:
            if not self._is_open:
                return None
            # There may be more by now: that is why a lane is sent.
            self._is_dry = False
            self._places.append(place)
        return place

    @property
    def is_open(self) -> bool:
        """Whether there are lanes, or will be."""
        return self._is_open

    def stuck(self, seconds: float) -> int:
        """Return how many lanes have waited for the server for longer than this."""
        with self._lock:
            return sum(place.is_stuck(seconds) for place in self._places)

    def staying_count(self) -> int:
        """Return how many lanes there are, but for those that are about to leave."""
        with self._lock:
            return sum(not place.is_to_leave for place in self._places)

    def leaving_count(self, stuck_after: float) -> int:
        """Return how many lanes have been asked to leave, and will soon."""
        with self._lock:
            return sum(
                place.is_to_leave and not place.is_stuck(stuck_after) for place in self._places
            )

    def ask_to_leave(
        self, lanes: int, *, after: float = 0.0, gives_up_session: bool = False
    ) -> int:
        """Ask lanes to leave after the message in hand; return how many were asked.

        :param after: seconds that they must have been there.
        :param gives_up_session: whether their sessions are to be ended, not kept for later.
        """
        until = time.monotonic() - after
        with self._lock:
            staying = [one for one in self._places if not one.is_to_leave and one.since <= until]
            # The soonest to leave: one that waits for its server may wait for long.
            asked = sorted(staying, key=Place.waiting_seconds)[:lanes]
            for place in asked:
                place.is_to_leave = True
                place.gives_up_session = gives_up_session
            return len(asked)

    def take_from_the_stuck(self, seconds: float) -> list[Handed]:
        """Have lanes that wait for a slow server keep nothing else waiting.

        What such a lane would send next goes to the other lanes. When all of them are slow, what
        they have not begun is returned, for other workers to have.
        """
        with self._lock:
            stuck = [place for place in self._places if place.is_stuck(seconds)]
            for place in stuck:
                self._put_back(place)
            if not stuck or len(stuck) < len(self._places):
                return []
            freed = list(self._pool)
            self._pool.clear()
            # Their lanes come back to claim what is due then.
            self._is_dry = False
        return freed

    def give_back(
        self, freed: Sequence[Handed], run: Callable[[Callable[[sa.Connection], None]], object]
    ) -> None:
        """Let others have what was taken out; if that fails it is as good as before.

        :param run: runs what it is given in a transaction.
        """
        try:
            run(lambda connection: _release(connection, freed))
        except BaseException:
            self.not_released(freed)
            raise
        self.released(freed)

    def released(self, freed: Sequence[Handed]) -> None:
        """Note that others can have what was taken out."""
        for message, lease in freed:
            self._let_go(message, lease)

    def not_released(self, freed: Sequence[Handed]) -> None:
        """Have it again, behind what has come meanwhile."""
        with self._lock:
            self._pool.extend(freed)

    # --- for the lanes ----------------------------------------------------------------------------

    @property
    def is_ahead_of_time(self) -> bool:
        """Whether a lane may take a message before it is its turn."""
        return self._largest > 1

    def hand_out(self, place: Place) -> Handed | None:
        """Return the next message for a lane; ``None``: there is none, or no room for the lane.

        :raises OutboxUnavailable: the database is away.
        """
        crew = self._patience.crew
        surplus = self._take_out_surplus()
        if surplus:
            with suppress(OutboxUnavailable):  # nothing is lost by doing it later
                crew.errand(lambda: self.give_back(surplus, self._patience))
        runs_low = self._runs_low()
        if not place.is_admitted or (runs_low and not self._refills):
            crew.errand(self._fill)
        elif runs_low and not (self._is_refilling and self._pool):
            crew.errand(self._refill, beside=True)
        return self._next() if place.is_admitted else None

    def settled(self, message: Claimed, lease: Lease) -> None:
        """Note that a message is dealt with, in the database too."""
        self._finished += 1
        self._let_go(message, lease)

    def seat(self, place: Place) -> None:
        """Note that a lane has a session, or could get none."""
        with self._lock:
            if not place.has_session:
                place.has_session = True
                self._seats.has_session(self.carrier.id)

    def take_back(self, place: Place, handed: Handed) -> None:
        """Have a message again that a lane was given and cannot send."""
        with self._lock:
            self._put_back(place)
            self._pool.appendleft(handed)

    def give_up(self, message: Claimed, lease: Lease) -> None:
        """Leave a message to the sweep, as it cannot be dealt with here any more."""
        self._let_go(message, lease)

    def _let_go(self, message: Claimed, lease: Lease) -> None:
        with self._lock:
            self._forget(message, lease)

    def _forget(self, message: Claimed, lease: Lease) -> None:
        lease.messages.discard(message.id)
        if not lease.messages:
            self._outstanding.discard(lease)
            self._leases.drop(lease)

    def leave(self, place: Place) -> Leaving | None:
        """Take leave of a lane; the last one is told what it has to give back."""
        with self._lock:
            self._put_back(place)
            if place in self._places:
                self._places.remove(place)
            if place.is_admitted:
                place.is_admitted = False
                self._seats.leave(self.carrier.id, had_session=place.has_session)
            if self._places or not self._is_open:
                return None
            self._is_open = False
            self._pool.clear()
            return Leaving(self._seats, self.carrier.id, tuple(self._outstanding))

    def close(self) -> None:
        """Renew no lease any more."""
        with self._lock:
            leases = list(self._outstanding)
            self._outstanding.clear()
        for lease in leases:
            self._leases.drop(lease)

    # --- the pool ---------------------------------------------------------------------------------

    def taken_back(self, place: Place) -> Handed | None:
        """Return what a lane has reserved, which it has no more then."""
        with self._lock:
            return place.give_back()

    def _put_back(self, place: Place) -> None:
        ahead = place.give_back()
        if ahead is not None:
            self._pool.appendleft(ahead)

    def _next(self) -> Handed | None:
        with self._lock:
            while self._pool:
                handed = self._pool.popleft()
                if handed.lease.holds():
                    return handed
                # Others may have it by now, or will have it soon: it must not be renewed.
                self._forget(*handed)
        return None

    def _runs_low(self) -> bool:
        """Tell whether some lane would soon find nothing, though there may be more."""
        return not self._is_dry and len(self._pool) < min(len(self._places), self._largest)

    def _take_out_surplus(self) -> list[Handed]:
        """Return what the lanes will not come to for long, which others can have."""
        with self._lock:
            if time.monotonic() - self._fillings[-1][0] <= STALE_SECONDS:
                return []
            surplus = [self._pool.pop() for _ in range(len(self._pool) - len(self._places))]
            if surplus:
                self._is_dry = False
        return surplus[::-1]

    def _fill(self) -> None:
        """Ask for room for all lanes that have none yet, and claim if little is left."""
        lacks_room = self._lacks_room()
        if not lacks_room and not self._runs_low():
            return  # it was done for another lane meanwhile
        lease = self._leases.new(_end_seconds(self.carrier.endpoint))
        try:
            with self._seats.asking(self.carrier) as asking:
                # Without a heartbeat, the hold on the sessions is renewed here.
                if lacks_room or self.carrier.limits.set_ones() or self._leases.is_lone:
                    filling = self._patience(
                        lambda connection: self._claim(connection, lease, asking)
                    )
                else:
                    filling = self._patience.rows(lambda rows: self._claim_rows(rows, lease))
                self._admit(filling, asking)
                self._take_in(filling, lease)
        except BaseException:
            self._leases.drop(lease)
            raise

    def _refill(self) -> None:
        """Claim for lanes that are there already, while what lanes want written is written."""
        if not self._runs_low():
            return  # it was done for another lane meanwhile
        lease = self._leases.new(_end_seconds(self.carrier.endpoint))
        self._is_refilling = True
        try:
            filling = self._patience.rows(lambda rows: self._claim_in_one(rows, lease), single=True)
        except BaseException:
            self._leases.drop(lease)
            raise
        finally:
            self._is_refilling = False
        self._take_in(filling, lease)

    def _admit(self, filling: _Filling, asking: Asking) -> None:
        with self._lock:
            for place in self._places:
                place.is_admitted = place.is_admitted or asking.hand_out()
                place.is_crowded_out = filling.is_current and not place.is_admitted

    def _take_in(self, filling: _Filling, lease: Lease) -> None:
        batch = filling.batch
        with self._lock:
            has_lane = any(place.is_admitted for place in self._places)
            self._is_dry = len(batch) < filling.asked or not has_lane
            is_urgent = batch and self._pool and batch[0].priority < _priority(self._pool[-1])
            self._pool.extend(Handed(message, lease) for message in batch)
            if is_urgent:  # it passes what was claimed before
                self._pool = deque(sorted(self._pool, key=_priority))
            if batch:
                lease.messages.update(message.id for message in batch)
                self._outstanding.add(lease)
        self.claimed_count += len(batch)
        if not batch:
            self._leases.drop(lease)

    def _claim(self, connection: sa.Connection, lease: Lease, asking: Asking) -> _Filling:
        """Find room for all lanes, and claim what the connection's limits allow, if it is needed."""
        carrier = self.carrier
        if not self._is_wanted(connection):
            return _Filling(1, [], is_current=False)
        exactly = self._core.database_time(connection)
        if not self._find_room(connection, lease, exactly, asking) or not self._runs_low():
            return _Filling(0, [])
        asked = self._size()
        limit = allowance(connection, carrier.id, carrier.limits, asked, self._core.now())
        return _Filling(asked, self._take(connection, lease, limit, exactly))

    def _claim_rows(self, connection: Runs, lease: Lease) -> _Filling:
        """Claim for lanes that are there already, over a connection without limits."""
        if not self._is_wanted(connection):
            return _Filling(1, [], is_current=False)
        exactly = self._core.database_time(connection)
        asked = self._size()
        return _Filling(asked, self._take(connection, lease, asked, exactly))

    def _claim_in_one(self, connection: Runs, lease: Lease) -> _Filling:
        """Do the same in one statement, on PostgreSQL."""
        asked = self._size()
        batch = claim_in_one.claim_current(
            connection,
            self.carrier,
            limit=asked,
            token=lease.token,
            since=self._began_at,
            now=self._core.now(),
            lasts=lease.lasts + self._core.clock_ahead(),
        )
        return _Filling(1, [], is_current=False) if batch is None else _Filling(asked, batch)

    def _is_wanted(self, connection: Runs) -> bool:
        """Tell whether the connection is still as it was, and its server takes more."""
        now = self._core.now()
        return bool(record.still_current(connection, [self.carrier])) and not (
            breaker.asks_for_pause(connection, self.carrier.id, self._began_at, now)
        )

    def _take(self, connection: Runs, lease: Lease, limit: int, exactly: datetime) -> list[Claimed]:
        return claim.claim(
            connection,
            self.carrier.id,
            limit=limit,
            token=lease.token,
            now=self._core.now(),
            lease_until=exactly + lease.lasts,
        )

    def _find_room(
        self, connection: sa.Connection, lease: Lease, now: datetime, asking: Asking
    ) -> bool:
        """Ask for seats for the lanes that have none; tell whether any lane has one.

        :param now: by the clock of the database.
        """
        with self._lock:
            wanted = sum(not place.is_admitted for place in self._places)
            has_lane = wanted < len(self._places)
        until = now + lease.lasts
        if wanted:
            gone = self._leases.ended_before(now)
            return bool(asking.take(connection, wanted=wanted, gone=gone, until=until)) or has_lane
        if self._leases.is_lone and self._seats.renew(
            connection, self.carrier.id, now=now, until=until
        ):
            return False  # the session is another worker's by now
        return has_lane

    def _lacks_room(self) -> bool:
        with self._lock:
            return not all(place.is_admitted for place in self._places)

    def _size(self) -> int:
        """Return how many messages to claim: as many as take a moment, going by the last ones."""
        since, before = self._fillings[0]
        now = time.monotonic()
        self._fillings.append((now, self._finished))
        finished = self._finished - before
        if finished:
            seconds = (now - since) / finished
            self._fitting = int(BATCH_SECONDS / max(seconds, 1e-6))
        fitting = self._fitting
        if fitting is None:
            fitting = FIRST_A_LANE * len(self._places)
        return max(1, min(fitting, self._largest))


def _release(connection: sa.Connection, freed: Iterable[Handed]) -> None:
    """Put messages back into the queue that were claimed and have not been offered."""
    numbers: dict[str, list[int]] = {}
    for message, lease in freed:
        numbers.setdefault(lease.token, []).append(message.id)
    for token, those in numbers.items():
        claim.release(connection, token, those)


def _priority(handed: Handed) -> int:
    return handed.message.priority


def _end_seconds(endpoint: Endpoint) -> float:
    """Return how long it may take at most to write the last of a message and to get the reply."""
    return endpoint.reply_timeout + endpoint.final_timeout


class Place:
    """A lane's place at the supply: what it sends next, and since when it waits for the server."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self.since = time.monotonic()
        self.is_to_leave = False
        """Whether another connection, or another worker, needs the room."""
        self.gives_up_session = False
        """Whether it is another worker, which needs the session, too."""
        self.is_admitted = False
        self.has_session = False
        """Whether a session is, or was, this lane's."""
        self.is_crowded_out = False
        """Whether other workers have all the sessions that the connection may have."""
        self._ahead: Handed | None = None
        self._waits_since: float | None = None
        # Until it is known. An urgent message would wait for what was reserved, too.
        self._is_slow = True

    def next(self) -> Handed | None:
        """Return the message to be sent now; ``None``: the lane is not needed.

        :raises OutboxUnavailable: the database is away.
        """
        return self.supply.taken_back(self) or self.supply.hand_out(self)

    def reserve(self) -> Handed | None:
        """Return the message after it, if it can be told already. It may go to another lane yet.

        :raises OutboxUnavailable: the database is away.
        """
        is_wanted = self.supply.is_ahead_of_time and not (self._is_slow or self.is_to_leave)
        if self._ahead is None and is_wanted:
            self._ahead = self.supply.hand_out(self)
        return self._ahead

    def give_back(self) -> Handed | None:
        """Return what was reserved, and have it no more. To be called by the supply."""
        ahead, self._ahead = self._ahead, None
        return ahead

    def waits(self) -> None:
        """Note that the lane waits, for its session to be opened or for the host's receivers."""
        self._waits_since = time.monotonic()

    def goes_on(self) -> None:
        """Note that it waits no longer."""
        self._waits_since = None

    def offers(self) -> None:
        """Note that a message is being handed to the server."""
        self._waits_since = time.monotonic()

    def has_outcome(self) -> None:
        """Note that the server has answered, or will not."""
        since, self._waits_since = self._waits_since, None
        if since is not None:
            self._is_slow = time.monotonic() - since > SLOW_SECONDS

    def waiting_seconds(self) -> float:
        """Return for how long the server has kept the lane waiting."""
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since

    def is_stuck(self, seconds: float) -> bool:
        """Tell whether the server has kept the lane waiting for longer than this."""
        return self._waits_since is not None and self.waiting_seconds() > seconds
