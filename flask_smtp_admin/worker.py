"""The worker: one short loop of sweep, claim, deliver, react.

Owns how many lanes run, the heartbeat, and when it looks again. Must not know Flask, nor what wakes
it: that is a bell somebody else rings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa

from .core import Core
from .database import in_the_end
from .delivery import breaker, carriers, claim, housekeeping
from .delivery.aside import Aside, few_at_once
from .delivery.clock import SharedClock
from .delivery.crew import Crew
from .delivery.journal import Entry, Journal, Written
from .delivery.lane import Lane
from .delivery.lease import Clockwork, Lease, Leases, Pace, uptime
from .delivery.overlapping import overlap
from .delivery.patience import Patience
from .delivery.presence import Presence
from .delivery.rack import Rack
from .delivery.record import Carrier
from .delivery.seats import Seats
from .delivery.supplies import Supplies
from .delivery.supply import Place
from .errors import OutboxUnavailable
from .models import ConnectionHealth, Message, Status, is_queued
from .signals import Event
from .smtp import Session

logger = logging.getLogger(__name__)

PACE = Pace()
"""The pace of every worker that is given none. With it a killed worker's message is tried again
within 45 + 15 s."""
DATABASE_PAUSE = 2.0
"""Seconds until a pass is tried again when the database is away, and after a lane that failed."""
SWEEP_SECONDS = 1.0
"""So long a sweep may last before what is due comes first. The next one then goes on at once."""
EMPTY_PAUSE = 0.25
"""Seconds to leave a connection alone whose due messages were gone when a lane came for them."""
MESSAGES_A_LANE = 10
"""So many due messages justify one more session."""

CROWDED_PAUSE = 1.0
"""Seconds to leave a connection alone whose sessions are all with other workers."""
STUCK_AFTER = 10.0
"""Seconds that one message may take before the one behind it in its lane is left to other lanes."""
SAY_WHY_AFTER = 10
"""So many looks after it was told to end, a worker says what it waits for."""
LOOK_FOR_ENDED = 1.0
"""Seconds between two looks at which sessions have ended, when all of them are being ended."""
LOOK_FOR_ROOM = 0.25
"""Seconds until it is looked again whether there is room for a connection that has no lane."""

RECEIVERS_AT_ONCE = 4
"""Events that are told at the same time: a receiver may want a connection of the database, of which there
have to be some for delivery and for the host."""
MOST_LINGERING = 16
"""So many lanes may wait for the host's receivers after their last message before they count again."""

LONE_LEASE = timedelta(minutes=15)
"""The lease of a worker without a heartbeat, which claims one message at a time: time enough for a
server to take it, besides that for its last reply."""


class Bell:
    """What wakes a worker. Ringing twice is the same as ringing once."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Say that there is work."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Return when it rings, at the latest after so many seconds."""
        self._rung.wait(seconds)
        self._rung.clear()


class Worker:
    """Delivers what is due, for one application.

    :param kind: ``rq``, ``worker`` (without Redis), ``embedded``, ``inline`` or ``burst``, for the
        overview.
    :param sessions: SMTP sessions at most, over all connections.
    :param pace: how long leases last and how often it sweeps. Default: :data:`PACE`.
    :param clockwork: what an earlier worker of this process has seen of the clock. Default: nothing.
    """

    def __init__(
        self,
        core: Core,
        *,
        kind: str,
        sessions: int | None = None,
        pace: Pace | None = None,
        clockwork: Clockwork | None = None,
    ) -> None:
        self.bell = Bell()
        self._clock = SharedClock(core)
        self._core = core = replace(
            self._clock.core, publish=few_at_once(core.publish, RECEIVERS_AT_ONCE)
        )
        self._sessions = sessions or core.config.sessions
        self.pace = pace or PACE
        self._presence = Presence(core, kind)
        self._rack = Rack()
        self.clockwork = clockwork or Clockwork(
            self.pace.distrust, self.pace.gap, self.pace.doubt, self.pace.window
        )
        self._leases = Leases(self.pace.lease, self.pace.margin, self.clockwork)
        journal = Journal(core, prepare=lambda connection: overlap(connection, self._crew))
        self._crew: Crew[Entry, Written] = Crew(
            journal.write_all, ready=journal.ready, has_room=core.database.has_room
        )
        self._patience = Patience(core.database, self._crew)
        self._seats = Seats(self._rack)
        self._supplies = Supplies(core, self._leases, self._patience, self._seats)
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._active: Counter[int] = Counter()
        self._rests_until: dict[int, float] = {}
        self._released = False
        self._sent_count = 0
        self._sweeps_at = float("-inf")
        self._has_swept = False
        self._alone = False
        self._is_asked_to_end = False
        self._ends_at = float("inf")
        self._reply_seconds: float | None = None
        self._has_crew = False
        self._crowded_out = 0
        self._had_turn: dict[int, float] = {}
        self._lingering_count = 0
        self._aside = Aside(
            core.publish, lambda tell: self._start_in_crew(lambda: self._crew.aside(tell))
        )
        # For what is told in the worker's own thread, which must not wait for who hears of it.
        self._telling_aside = replace(core, publish=self._publish_aside)

    # --- being run ------------------------------------------------------------------------------

    def run(self) -> None:
        """Deliver until :meth:`stop`; then finish the messages in hand and release the rest."""
        self._has_crew = True
        heartbeat = self._start_thread(self._beat, "smtp-admin-heartbeat")
        try:
            while not self._stopped.is_set():
                self.bell.wait(self._tick())
        finally:
            self._finish(heartbeat)

    def stop(self) -> None:
        """Ask :meth:`run` to end after the messages in hand."""
        self._stopped.set()
        self.bell.ring()

    def waits_for(self) -> str:
        """Say what keeps :meth:`run` from returning after :meth:`stop`."""
        with self._lock:
            in_hand, receivers = self._active.total(), self._lingering_count
        if in_hand:
            return (
                f"{in_hand} sessions wait for their servers to answer for the message in hand. Should "
                "the process end before, others take it back."
            )
        if not (receivers or self._aside.is_telling):
            return "Sessions with servers are being closed."
        return (
            "Receivers of its signals have not returned. Should the process end before, they may miss "
            "what is left to be told; the messages are dealt with."
        )

    def end_soon(self) -> None:
        """Ask :meth:`drain` the same, from a signal handler.

        It takes no lock, which the code that the signal has interrupted may have.
        """
        self._is_asked_to_end = True

    def sweep(self) -> None:
        """Take back messages of workers that are gone, give up expired ones, route the rest."""
        self._clock.look()  # what has expired, is so by the clock of the database
        until = time.monotonic() + SWEEP_SECONDS
        is_late = False

        def is_enough() -> bool:
            nonlocal is_late
            is_late = is_late or time.monotonic() > until
            return is_late or self._is_to_stop() or self._aside.is_full

        housekeeping.sweep(
            self._telling_aside,
            held=self._leases.messages(),
            clockwork=self.clockwork,
            expires=not self._aside.is_full,
            is_enough=is_enough,
        )
        self._has_swept = True
        # What was left of it is found as soon as it is certain.
        soon = self.pace.doubt if self.clockwork.is_new else self.pace.sweep_every
        pause = 0.0 if is_late else min(soon, self.pace.sweep_every)
        self._sweeps_at = time.monotonic() + pause
        self._presence.swept_at = self._core.now()

    def has_due(self) -> bool:
        """Tell whether there is a message that could be delivered now."""
        return any(self._due_counts(enough=1).values())

    def has_claimed(self) -> bool:
        """Tell whether any worker has messages in hand, or left them there."""
        with self._core.database.read() as connection:
            found = connection.execute(
                sa.select(Message.id).where(Message.status == Status.SENDING).limit(1)
            ).scalar()
        return found is not None

    def has_left(self) -> bool:
        """Tell whether there are messages whose worker seems to be gone, as their lease has ended."""
        with self._core.database.read() as connection:
            found = connection.execute(
                sa.select(Message.id)
                .where(
                    Message.status == Status.SENDING,
                    Message.lease_until < self._core.database_time(connection),
                )
                .limit(1)
            ).scalar()
        return found is not None

    def next_due_at(self, after: datetime | None = None) -> datetime | None:
        """Return when the next message or the next try of a failing connection is due.

        :param after: when it was looked for what is due. Default: now.
        """
        now = after or self._core.now()
        with self._core.database.read() as connection:
            message = connection.execute(
                sa.select(Message.due_at)
                .where(is_queued(), Message.due_at > now)
                .order_by(Message.due_at)
                .limit(1)
            ).scalar()
            probe = connection.execute(
                sa.select(sa.func.min(ConnectionHealth.retry_at)).where(
                    ConnectionHealth.retry_at > now
                )
            ).scalar()
        return min((time for time in (message, probe) if time is not None), default=None)

    def drain(
        self,
        *,
        seconds: float | None = None,
        sweeps: bool = False,
        after_sweep: Callable[[], object] = lambda: None,
    ) -> int:
        """Deliver until nothing is due, and return how many messages were accepted.

        :param seconds: stop claiming after so many seconds.
        :param sweeps: whether to do so before, and as often as it is due.
        :param after_sweep: called after the first one, when more may be due than before.
        :raises OutboxUnavailable: the database is away.
        """
        self._has_crew = True
        heartbeat = self._start_thread(self._beat, "smtp-admin-heartbeat")
        try:
            if sweeps:
                self.sweep()
                after_sweep()
            self._drain_until(seconds)
        finally:
            self._finish(heartbeat)
        return self._sent_count

    def drain_alone(self, *, seconds: float | None = None, patience: float | None = None) -> int:
        """Do the same in the calling thread, message by message, without any other.

        :param patience: seconds at most to wait for a server's reply. Default: as the connections
            say.
        :raises OutboxUnavailable: the database is away.
        """
        self._alone = True
        self._sessions = 1
        self._reply_seconds = patience
        lasts = LONE_LEASE if patience is None else self.pace.lease
        self._leases = Leases(lasts, self.pace.margin, self.clockwork, is_renewed=False)
        self._supplies = Supplies(self._core, self._leases, self._patience, self._seats, largest=1)
        try:
            self._drain_until(seconds)
        finally:
            self._close_all_sessions()
        return self._sent_count

    def _drain_until(self, seconds: float | None) -> None:
        if seconds is not None:
            self._ends_at = time.monotonic() + seconds
        self._clock.look()
        while not self._is_to_stop():
            # Asked before: a lane that ends after the look may have given something back.
            was_busy = self._busy()
            if not self._start_lanes() and not was_busy and not self._is_to_sweep_again():
                return
            if not self._alone:
                self._tidy_sessions()
                self._sweep_again()
                self.bell.wait(0.5)
            if time.monotonic() > self._ends_at:
                self._stopped.set()

    def _is_to_stop(self) -> bool:
        """Tell whether a lane begins nothing more.

        One that runs in the drain's own thread looks at the time itself: nobody else can meanwhile.
        """
        is_late = self._alone and time.monotonic() > self._ends_at
        return self._stopped.is_set() or self._is_asked_to_end or is_late

    def _finish(self, heartbeat: threading.Thread | None) -> None:
        """Wait for the messages in hand, and leave everything tidy for others."""
        self._stopped.set()
        # A message in hand may take long; nobody has to wait for what is idle meanwhile.
        self._end_sessions(self._rack.shut())
        looks = 0
        while not self._crew.join(LOOK_FOR_ENDED):
            self._leave_to_others()
            looks += 1
            if looks == SAY_WHY_AFTER:
                logger.warning("The worker is to end. %s", self.waits_for())
        self._ended.set()
        self._end_sessions(self._rack.shut())
        self._crew.join()
        self._has_crew = False
        self._leave_to_others()
        if heartbeat is not None:
            heartbeat.join(DATABASE_PAUSE)
        try:
            self._presence.sign_off(self._sent_count)
        except OutboxUnavailable as error:
            logger.warning("The worker cannot sign off: %s", error)
        if self._released:
            self._core.ring()

    # --- one tick -------------------------------------------------------------------------------

    def _tick(self) -> float:
        """Do one pass, and return the seconds until the next one if nobody rings."""
        self._tidy_sessions()
        try:
            if time.monotonic() >= self._sweeps_at:
                self._sweep_if_it_can()
            # What becomes due between the two looks must be seen by one of them, as must a connection
            # whose rest ends.
            now, since = self._core.now(), time.monotonic()
            self._start_lanes(now)
            return self._seconds_until_due(now, since)
        except OutboxUnavailable as error:
            logger.warning("The worker waits for its database: %s", error)
            return DATABASE_PAUSE
        except Exception:
            # One broken row must not end delivery for all others.
            logger.exception("A pass of the worker failed; it goes on.")
            return DATABASE_PAUSE

    def _sweep_again(self) -> None:
        """Sweep when it is time, if that was done at the beginning.

        Under a load that never ends, one drain follows another, and each is new to the clock.
        """
        if self._is_to_sweep_again():
            self._sweep_if_it_can()

    def _is_to_sweep_again(self) -> bool:
        return self._has_swept and not self._alone and time.monotonic() >= self._sweeps_at

    def _sweep_if_it_can(self) -> None:
        try:
            self.sweep()
        except OutboxUnavailable:
            raise
        except Exception:
            logger.exception("A sweep failed. What is due is delivered all the same.")
            self._sweeps_at = time.monotonic() + self.pace.sweep_every

    def _start_lanes(self, now: datetime | None = None) -> int:
        """Start lanes for every connection that may be used and has something due."""
        due = self._due_counts(self._sessions * MESSAGES_A_LANE, now)
        with self._lock:
            first = sorted((number for number in due if due[number]), key=self._turn)
        self._crowded_out = 0
        started = sum(self._start_lanes_of(number, due[number]) for number in first)
        if self._crowded_out:
            self._supplies.make_room(self._crowded_out, STUCK_AFTER)
        return started

    def _turn(self, number: int) -> tuple[int, float]:
        """Return what says when it is a connection's turn: the fewest lanes, then the longest wait."""
        return self._active[number], self._had_turn.get(number, float("-inf"))

    def _due_counts(self, enough: int, now: datetime | None = None) -> dict[int, int]:
        now = now or self._core.now()
        with self._core.database.read() as connection:
            return {
                number: claim.due_count(connection, number, now, enough)
                for number in breaker.ready(connection, now)
                if not self._rests(number)
            }

    def _start_lanes_of(self, number: int, due: int) -> int:
        with self._lock:
            active = self._active[number]
        room = self._room()
        if room <= 0:
            self._crowded_out += int(not active)
            return 0
        carrier = carriers.find(self._telling_aside, number, self._reply_seconds)
        if carrier is None:
            return 0
        self._end_sessions(self._rack.outdated(number, carrier.endpoint))
        # A lane may be kept by a slow server, so it is not counted on for what is due now.
        free = min(room, carrier.max_sessions - active, -(-due // MESSAGES_A_LANE))
        if free <= 0:
            return 0
        if self._is_failing(number):
            # One that waits for a slow server says nothing of whether that takes another message. But
            # lanes that were there before a pause do not go on after it, nor do those that join them.
            if active > self._supplies.stuck(number, STUCK_AFTER) or (
                active and self._is_paused(number)
            ):
                return 0
            probe = self._take_probe(number)
            return 0 if probe is None else int(self._start_lane(carrier, probe=probe))
        return sum(self._start_lane(carrier) for _ in range(free))

    def _room(self) -> int:
        """Return how many lanes more there may be, over all connections.

        One whose server is silent for ten minutes keeps no others.
        """
        with self._lock:
            lanes = self._active.total() + max(0, self._lingering_count - MOST_LINGERING)
        return self._sessions - lanes + self._supplies.stuck_in_all(STUCK_AFTER)

    def _start_lane(self, carrier: Carrier, *, probe: datetime | None = None) -> bool:
        place = self._supplies.join(carrier)
        with self._lock:
            self._active[carrier.id] += 1
            self._had_turn[carrier.id] = time.monotonic()
        if self._alone:
            self._run_lane(place, probe)
            return True
        if self._start_in_crew(lambda: self._run_lane(place, probe)):
            return True
        if place.supply.leave(place) is not None:
            place.supply.close()
        with self._lock:
            self._active[carrier.id] -= 1
        return False

    def _publish_aside(self, event: Event) -> None:
        """Let the host's receivers know, without waiting for them where there is a crew."""
        if self._has_crew and self._core.hears(event.code):
            self._aside.tell(event)
        else:
            self._core.publish(event)

    def _start_in_crew(self, act: Callable[[], None]) -> bool:
        try:
            self._crew.start(act)
        except (RuntimeError, OSError) as error:
            logger.warning("No thread can be started for the sessions: %s", error)
            return False
        return True

    def _start_thread(self, target: Callable[[], None], name: str) -> threading.Thread | None:
        """Start a thread; ``None`` when the interpreter is ending and gives out no more.

        A daemon: a process that ends must not be kept by it.
        """
        thread = threading.Thread(target=target, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            is_ending = not threading.main_thread().is_alive()
            level = logging.INFO if is_ending else logging.WARNING
            logger.log(level, "No thread can be started any more: %s", error)
            return None
        return thread

    def _run_lane(self, place: Place, probe: datetime | None) -> None:
        number = place.supply.carrier.id
        claimed_before = place.supply.claimed_count
        lane = Lane(
            self._core,
            place,
            crew=self._crew,
            patience=self._patience,
            rack=self._rack,
            worker=self._presence.name,
            stopping=self._is_to_stop,
        )
        pause = 0.0
        try:
            lane.run()
            # What others claimed before it came says nothing of whether there is more to be had.
            pause = 0.0 if place.supply.claimed_count > claimed_before else EMPTY_PAUSE
            if place.is_crowded_out:
                pause = CROWDED_PAUSE
            if probe is not None and not lane.has_tried:
                self._put_back_probe(number, probe)
            if probe is not None and lane.sent_count:
                # It works again, and may have more to take over.
                self._sweeps_at = time.monotonic()
        except OutboxUnavailable as error:
            logger.warning(
                "A session ended because the database is away. Delivery goes on when it is back; what "
                "the session had in hand is taken back when its lease ends: %s",
                error,
            )
            pause = DATABASE_PAUSE
        except Exception:
            logger.exception(
                "Delivery over one session failed. Another one begins in a moment; what this one had in "
                "hand is taken back when its lease ends. Please report the traceback."
            )
            pause = DATABASE_PAUSE
        finally:
            with self._lock:
                self._active[number] -= 1
                self._lingering_count += 1
                self._sent_count += lane.sent_count
                self._released = self._released or lane.released_count > 0
                self._rests_until[number] = time.monotonic() + pause
            self.bell.ring()
            # Only now: others may have its place and its session meanwhile.
            try:
                lane.join_receivers()
            finally:
                with self._lock:
                    self._lingering_count -= 1
                self.bell.ring()

    def _rests(self, number: int) -> bool:
        with self._lock:
            return time.monotonic() < self._rests_until.get(number, 0.0)

    def _busy(self) -> bool:
        with self._lock:
            return self._active.total() + self._lingering_count > 0

    def _tidy_sessions(self) -> None:
        """End sessions that nobody uses, or that take the place of other workers.

        Whatever else fails: others may be waiting for them.
        """
        sessions = self._rack.stale()
        workers = self._presence.others + 1
        if workers > 1:
            for number in self._rack.connections():
                sessions += self._rack.surplus(number, self._seats.spare(number, workers))
        self._end_sessions(sessions)
        self._leave_to_others()

    def _end_sessions(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            if not self._start_in_crew(partial(self._end, session)):
                session.abort()
                self._end(session)

    def _end(self, session: Session) -> None:
        self._rack.end(session)
        self.bell.ring()

    def _leave_to_others(self) -> None:
        """Say which sessions are no longer open."""
        numbers = sorted(self._seats.too_many())
        if not numbers:
            return
        try:
            in_the_end(partial(self._write_down, numbers))
        except Exception as error:  # noqa: BLE001  (it is tried again, or they end by themselves)
            logger.warning(
                "The database could not be told that SMTP sessions were closed, so they still count "
                "for their connections. It is told again in a moment: %s",
                error,
            )
            return
        for number in numbers:
            self._seats.confirm(number)

    def _write_down(self, numbers: Sequence[int]) -> None:
        with self._core.database.write() as connection:
            for number in numbers:
                self._seats.write_down(connection, number)

    def _close_all_sessions(self) -> None:
        self._rack.close()
        self._leave_to_others()

    def _seconds_until_due(self, looked_at: datetime, since: float) -> float:
        """Return how long to sleep: until a message or a probe is due, or the next sweep.

        :param since: when it was looked, by the clock that rests go by.
        """
        now = time.monotonic()
        waits = [self._sweeps_at - now]
        due_at = self.next_due_at(looked_at)
        if due_at is not None:
            waits.append((due_at - self._core.now()).total_seconds())
        if self._crowded_out:
            waits.append(LOOK_FOR_ROOM)
        with self._lock:
            waits += [until - now for until in self._rests_until.values() if until > since]
        return max(0.05, min(waits))

    def _is_failing(self, number: int) -> bool:
        with self._core.database.read() as connection:
            return breaker.is_failing(connection, number)

    def _is_paused(self, number: int) -> bool:
        with self._core.database.read() as connection:
            return breaker.is_paused(connection, number)

    def _take_probe(self, number: int) -> datetime | None:
        with self._core.database.write() as connection:
            return breaker.take_probe(connection, number, self._core.now())

    def _put_back_probe(self, number: int, probe: datetime) -> None:
        """Have a failing connection tried soon, as nothing was tried now."""
        again_at = self._core.now() + timedelta(seconds=CROWDED_PAUSE)
        act = partial(
            breaker.put_back_probe, connection_id=number, reserved=probe, again_at=again_at
        )
        self._crew.errand(lambda: self._patience(act))

    # --- the heartbeat --------------------------------------------------------------------------

    def _beat(self) -> None:
        """Renew the leases and report that this worker lives, until everything is done."""
        has_worked = self._report()
        # Two in a row that fail would make what it holds look as if it were gone.
        soon = min(self.pace.renew_again_after, self.pace.renew_every)
        while not self._ended.wait(self.pace.renew_every if has_worked else soon):
            has_worked = self._report()

    def _report(self) -> bool:
        renewals = [
            *(partial(self._renew, lease) for lease in self._leases.held()),
            *(partial(self._renew_hold, number) for number in self._seats.held()),
        ]
        # Each for itself: what one of them meets must not end what the others hold.
        acts: list[Callable[[], object]] = [
            *(partial(in_the_end, renew) for renew in renewals),
            self._free_those_behind_a_slow_one,
            lambda: self._presence.sign_in(self._sent_count),
        ]
        return not [act for act in acts if not self._has_worked(act)]

    def _has_worked(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except OutboxUnavailable as error:
            logger.warning("The worker cannot report itself: %s", error)
        except Exception:
            # Without a heartbeat the leases would end under the messages in hand.
            logger.exception("The worker could not report itself; it tries again.")
        else:
            return True
        return False

    def _renew(self, lease: Lease) -> None:
        """Prolong a lease. One that has ended only if nobody has taken any of its messages.

        A process that was stopped, or a machine that was suspended, finds it so; to go on with it
        otherwise would send a message a second time.
        """
        asked_at = uptime()
        with self._core.database.write() as connection:
            messages = frozenset(lease.messages)
            is_whole = messages <= claim.under(connection, lease.token)
            # It may have ended while the database kept us waiting.
            if not (is_whole or lease.holds()):
                return
            until = self._core.database_time(connection) + lease.lasts
            renewed = claim.renew(connection, lease.token, messages, until)
        if renewed and (is_whole or lease.holds()):
            lease.renewed(asked_at)

    def _renew_hold(self, number: int) -> None:
        with self._core.database.write() as connection:
            now = self._core.database_time(connection)
            surplus = self._seats.renew(connection, number, now=now, until=now + self._leases.lasts)
        if surplus:
            logger.warning(
                "This worker could not report for so long that others use its SMTP sessions with "
                "connection %d. It ends %d of them to keep to the connection's limit; the messages "
                "go on.",
                number,
                surplus,
            )
            idle = self._rack.cede(number, surplus)
            self._end_sessions(idle)
            self._supplies.give_up_lanes(number, surplus - len(idle))

    def _free_those_behind_a_slow_one(self) -> None:
        """Let others have what waits behind messages that a server takes its time over."""
        for supply in self._supplies.open():
            freed = supply.take_from_the_stuck(STUCK_AFTER)
            if freed:
                supply.give_back(freed, self._write_in_the_end)
                self.bell.ring()
                self._core.ring()

    def _write_in_the_end(self, act: Callable[[sa.Connection], None]) -> None:
        def write() -> None:
            with self._core.database.write() as connection:
                act(connection)

        in_the_end(write)
