"""The worker: one short loop of sweep, claim, deliver, react.

Owns how many lanes run, the heartbeat, and when it looks again. Must not know Flask, nor what wakes
it: that is a bell somebody else rings.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session as OrmSession

from . import connections
from .core import Core
from .delivery import breaker, claim, housekeeping
from .delivery.breaker import Trouble
from .delivery.lane import BATCH, Lane
from .delivery.lease import LEASE, RENEW_EVERY, Leases
from .delivery.rack import Rack
from .delivery.record import Carrier
from .errors import OutboxUnavailable, SMTPAdminError
from .models import Connection, ConnectionHealth, Message, Status
from .models import Worker as WorkerRow
from .signals import Event

logger = logging.getLogger(__name__)

SWEEP_EVERY = 15.0
"""Seconds between sweeps; with the lease they bound the time until a killed worker's message is
tried again: 45 + 15 s."""
DATABASE_PAUSE = 2.0
"""Seconds to wait when the database is away."""
MESSAGES_A_LANE = 10
"""So many due messages justify one more session."""
FORGET_AFTER = timedelta(days=1)

LONE_LEASE = timedelta(minutes=15)
"""The lease of a worker without a heartbeat, which claims one message at a time: longer than a
server may take over one message."""


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

    :param kind: ``rq``, ``embedded``, ``inline`` or ``burst``, for the overview.
    :param sessions: SMTP sessions at most, over all connections.
    """

    def __init__(self, core: Core, *, kind: str, sessions: int | None = None) -> None:
        self.bell = Bell()
        self.name = f"{kind}:{socket.gethostname()}:{os.getpid()}"[:36]
        self._core = core
        self._kind = kind
        self._sessions = sessions or core.config.sessions
        self._stopped = threading.Event()
        self._rack = Rack()
        self._leases = Leases(LEASE)
        self._active: Counter[int] = Counter()
        self._active_lock = threading.Lock()
        self._sent_count = 0
        self._swept_at = float("-inf")
        self._report_due = False
        self._alone = False
        self._threads: set[threading.Thread] = set()

    # --- being run ------------------------------------------------------------------------------

    def run(self) -> None:
        """Deliver until :meth:`stop`; then finish the messages in hand and release the rest."""
        heartbeat = threading.Thread(target=self._beat, name="smtp-admin-heartbeat", daemon=True)
        heartbeat.start()
        try:
            while not self._stopped.is_set():
                self.bell.wait(self._tick())
        finally:
            self._finish(heartbeat)

    def stop(self) -> None:
        """Ask :meth:`run` to end after the messages in hand. Safe in a signal handler."""
        self._stopped.set()
        self.bell.ring()

    def sweep(self) -> None:
        """Take back messages of workers that are gone, give up expired ones, route the rest."""
        housekeeping.sweep(self._core)
        self._swept_at = time.monotonic()
        self._report_due = True

    def has_due(self) -> bool:
        """Tell whether there is a message that could be delivered now."""
        with self._core.database.read() as connection:
            ready = breaker.ready(connection, self._core.now())
            return any(self._due_count(connection, number) for number in ready)

    def next_due_at(self) -> datetime | None:
        """Return when the next message or the next try of a failing connection is due."""
        now = self._core.now()
        with self._core.database.read() as connection:
            message = connection.execute(
                sa.select(Message.due_at)
                .where(Message.status == Status.QUEUED, Message.due_at > now)
                .order_by(Message.due_at)
                .limit(1)
            ).scalar()
            probe = connection.execute(
                sa.select(sa.func.min(ConnectionHealth.retry_at)).where(
                    ConnectionHealth.retry_at > now
                )
            ).scalar()
        return min((time for time in (message, probe) if time is not None), default=None)

    def drain(self, *, seconds: float | None = None, threads: bool = True) -> int:
        """Deliver until nothing is due, and return how many messages were accepted.

        :param seconds: stop claiming after so many seconds.
        :param threads: use several sessions side by side, and renew leases meanwhile. Without,
            everything happens in the calling thread.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        before = self._sent_count
        if threads:
            heartbeat = threading.Thread(target=self._beat, daemon=True)
            heartbeat.start()
            try:
                self._drain_until(ends)
            finally:
                self._finish(heartbeat)
        else:
            self._leases = Leases(LONE_LEASE)
            self._alone = True
            self._drain_until(ends)
            self._rack.close_idle(older_than=0)
        return self._sent_count - before

    def _drain_until(self, ends: float | None) -> None:
        while not self._stopped.is_set():
            started = self._start_lanes()
            if not started and not self._busy():
                return
            if not self._alone:
                self.bell.wait(0.5)
            if ends is not None and time.monotonic() > ends:
                self._stopped.set()

    def _finish(self, heartbeat: threading.Thread) -> None:
        self._stopped.set()
        for thread in list(self._threads):
            thread.join()
        self._rack.close_idle(older_than=0)
        heartbeat.join()
        self._sign_off()

    # --- one tick -------------------------------------------------------------------------------

    def _tick(self) -> float:
        """Do one pass, and return the seconds until the next one if nobody rings."""
        try:
            self._sweep_if_due()
            self._start_lanes()
            self._rack.close_idle()
            return self._seconds_until_due()
        except OutboxUnavailable as error:
            logger.warning("The worker waits for its database: %s", error)
            return DATABASE_PAUSE
        except Exception:
            # One broken row must not end delivery for all others.
            logger.exception("A pass of the worker failed; it goes on.")
            return DATABASE_PAUSE

    def _sweep_if_due(self) -> None:
        if time.monotonic() - self._swept_at < SWEEP_EVERY:
            return
        self.sweep()

    def _start_lanes(self) -> int:
        """Start lanes for every connection that may be used and has something due."""
        with self._core.database.read() as connection:
            ready = breaker.ready(connection, self._core.now())
            due = {number: self._due_count(connection, number) for number in ready}
        started = 0
        for number, count in due.items():
            if count:
                started += self._start_lanes_of(number, count)
        return started

    def _start_lanes_of(self, number: int, due: int) -> int:
        carrier = self._carrier(number)
        if carrier is None:
            return 0
        with self._active_lock:
            active, total = self._active[number], self._active.total()
        wanted = min(carrier.max_sessions, -(-due // MESSAGES_A_LANE)) - active
        free = min(wanted, self._sessions - total)
        if free <= 0:
            return 0
        if self._is_suspect(number):
            if active or not self._take_probe(number):
                return 0
            free = 1
        for _ in range(free):
            with self._active_lock:
                self._active[number] += 1
            if self._alone:
                self._run_lane(carrier)
            else:
                self._spawn(carrier)
        return free

    def _spawn(self, carrier: Carrier) -> None:
        # Daemon threads: a process that ends must not be kept by a long queue, and stop() is what
        # makes them finish in order.
        thread = threading.Thread(
            target=self._run_lane, args=(carrier,), name="smtp-admin-lane", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _run_lane(self, carrier: Carrier) -> None:
        lane = Lane(
            self._core,
            carrier,
            rack=self._rack,
            leases=self._leases,
            worker=self.name,
            stopping=self._stopped.is_set,
            batch_size=1 if self._alone else BATCH,
        )
        try:
            lane.run()
        except OutboxUnavailable as error:
            logger.warning("A delivery lane ended, its database being away: %s", error)
        except Exception:
            logger.exception("A delivery lane failed; its messages are taken back later.")
        finally:
            with self._active_lock:
                self._active[carrier.id] -= 1
                self._sent_count += lane.sent_count
            self._threads.discard(threading.current_thread())
            self.bell.ring()

    def _carrier(self, number: int) -> Carrier | None:
        with self._core.database.session() as session:
            row = session.get(Connection, number)
            if row is None:
                return None
            try:
                return Carrier.of(row, connections.endpoint_of(row, self._core))
            except SMTPAdminError as error:
                self._note_unusable(session, row, error)
                return None

    def _note_unusable(self, session: OrmSession, row: Connection, error: SMTPAdminError) -> None:
        """Write that a connection cannot even be tried, its password being unreadable for one."""
        now = self._core.now()
        trouble = Trouble(stage="auth", reason=str(error), opens_breaker=True)
        opened, retry_at = breaker.note_failure(session.connection(), row.id, trouble, now)
        session.commit()
        if opened:
            self._core.publish(
                Event(
                    code="connection_failed",
                    occurred_at=now,
                    connection=row.caption,
                    host=row.host,
                    port=row.port,
                    ssl=row.encryption.value != "none",
                    requires_auth=row.use_auth,
                    stage=trouble.stage,
                    reply=trouble.reason,
                    next_attempt_at=retry_at,
                )
            )

    def _is_suspect(self, number: int) -> bool:
        with self._core.database.read() as connection:
            return breaker.is_suspect(connection, number)

    def _take_probe(self, number: int) -> bool:
        with self._core.database.write() as connection:
            return breaker.take_probe(connection, number, self._core.now())

    def _busy(self) -> bool:
        with self._active_lock:
            return self._active.total() > 0

    def _due_count(self, connection: sa.Connection, number: int) -> int:
        """Count the due messages of a connection, as far as more sessions could serve them."""
        due = (
            sa.select(Message.id)
            .where(
                Message.status == Status.QUEUED,
                Message.connection_id == number,
                Message.due_at <= self._core.now(),
            )
            .limit(self._sessions * MESSAGES_A_LANE)
            .subquery()
        )
        return int(connection.execute(sa.select(sa.func.count()).select_from(due)).scalar_one())

    def _seconds_until_due(self) -> float:
        """Return how long to sleep: until a message or a probe is due, or the next sweep."""
        until_sweep = SWEEP_EVERY - (time.monotonic() - self._swept_at)
        due_at = self.next_due_at()
        if due_at is not None:
            until_due = (due_at - self._core.now()).total_seconds()
            return max(0.05, min(until_sweep, until_due))
        return max(0.05, until_sweep)

    # --- the heartbeat --------------------------------------------------------------------------

    def _beat(self) -> None:
        """Renew the leases and report that this worker lives, until it is stopped and idle."""
        self._report()
        while not (self._stopped.wait(RENEW_EVERY) and not self._busy()):
            self._report()
            if self._stopped.is_set():
                # Stopped, with a message in hand that may take minutes: its lease must last.
                time.sleep(1)

    def _report(self) -> None:
        try:
            self._renew()
            self._sign_in()
        except OutboxUnavailable as error:
            logger.warning("The worker cannot report itself: %s", error)

    def _renew(self) -> None:
        held = self._leases.held()
        if not held:
            return
        asked_at = time.monotonic()
        with self._core.database.write() as connection:
            until = self._core.now() + self._leases.lasts
            claim.renew(connection, [lease.token for lease in held], until)
        for lease in held:
            lease.renewed(asked_at)

    def _sign_in(self) -> None:
        now = self._core.now()
        values: dict[str, object] = {"seen_at": now, "sent_count": self._sent_count}
        if self._report_due:
            values["swept_at"] = now
        with self._core.database.write() as connection:
            known = connection.execute(
                sa.update(WorkerRow).where(WorkerRow.id == self.name).values(**values)
            ).rowcount
            if not known:
                connection.execute(
                    sa.insert(WorkerRow).values(
                        id=self.name,
                        kind=self._kind,
                        hostname=socket.gethostname()[:100],
                        pid=os.getpid(),
                        started_at=now,
                        **values,
                    )
                )
            connection.execute(sa.delete(WorkerRow).where(WorkerRow.seen_at < now - FORGET_AFTER))

    def _sign_off(self) -> None:
        try:
            with self._core.database.write() as connection:
                connection.execute(
                    sa.update(WorkerRow)
                    .where(WorkerRow.id == self.name)
                    .values(stopped_at=self._core.now(), sent_count=self._sent_count)
                )
        except OutboxUnavailable as error:
            logger.warning("The worker cannot sign off: %s", error)
