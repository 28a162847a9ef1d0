"""What the lanes of a worker write, several of them in one transaction.

Owns who commits: the lane that finds nobody committing writes for all that wait with it. So each
lane still waits for its own outcome to be durable, and the cost of a commit is shared. Must not
know sockets, nor what a lane does next.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from ..connections import note_success
from ..core import Core
from ..signals import Event
from . import breaker, claim, facts, record
from .breaker import Trouble
from .claim import Claimed
from .lease import Lease
from .record import Begin, Carrier, Done


@dataclass(frozen=True)
class Entry:
    """What one lane wants written.

    :param done: the message that was sent last, and its outcome.
    :param following: the message that is sent next, to be marked as in flight.
    :param ends: whether the messages under the lease that were not offered go back.
    :param began_at: when the lane began: lanes that failed side by side count as one failure.
    :param success_is_news: whether a success is to be written into the connection's health.
    :param again: whether a commit of this entry failed before, and may have been made all the same.
    """

    carrier: Carrier
    lease: Lease
    worker: str
    began_at: datetime
    max_attempts: int
    success_is_news: bool = False
    done: Done | None = None
    following: Claimed | None = None
    ends: bool = False
    again: bool = False


@dataclass
class Written:
    """What came of an entry.

    ``began``: the following message may be sent; ``None`` when the connection was changed or
    switched off meanwhile, so that nothing more may be sent over it as it was.
    """

    events: list[Event] = field(default_factory=list)
    began: bool | None = False
    released: int = 0


@dataclass(eq=False)
class _Waiting:
    entry: Entry
    written: Written | None = None
    error: BaseException | None = None
    turn: threading.Event = field(default_factory=threading.Event)

    @property
    def is_settled(self) -> bool:
        return self.written is not None or self.error is not None


class Journal:
    """Writes entries of lanes that run at the same time. Thread-safe."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._is_committing = False

    def write(self, entry: Entry) -> Written:
        """Return once the entry is committed.

        :raises OutboxUnavailable: the database is away; whether it was committed is not known.
        """
        mine = _Waiting(entry)
        with self._lock:
            self._queue.append(mine)
            leads = not self._is_committing
            self._is_committing = True
        if not leads:
            mine.turn.wait()
        if not mine.is_settled:
            self._lead()
        if mine.error is not None:
            raise mine.error
        assert mine.written is not None
        return mine.written

    def _lead(self) -> None:
        """Commit for all that wait now, then hand over to one that has come meanwhile."""
        with self._lock:
            group, self._queue = self._queue, []
        try:
            self._commit(group)
        finally:
            with self._lock:
                successor = self._queue[0] if self._queue else None
                self._is_committing = successor is not None
            for one in group:
                one.turn.set()
            if successor is not None:
                successor.turn.set()

    def _commit(self, group: Sequence[_Waiting]) -> None:
        # What may have been committed already needs a closer look, and so a transaction of its own.
        together = [one for one in group if not one.entry.again]
        apart = [one for one in group if one.entry.again]
        if len(together) > 1:
            try:
                self._store(together)
            except Exception:  # noqa: BLE001  (each is tried by itself, and meets its own error)
                for one in together:
                    one.entry = replace(one.entry, again=True)
                apart += together
        else:
            apart += together
        for one in apart:
            try:
                self._store([one])
            except BaseException as error:  # noqa: BLE001  (raised where the lane waits)
                one.error = error

    def _store(self, group: Sequence[_Waiting]) -> None:
        with self._core.database.write() as connection:
            written = self._write(connection, [one.entry for one in group])
        for one, its in zip(group, written, strict=True):
            one.written = its

    # --- in the transaction ----------------------------------------------------------------------

    def _write(self, connection: sa.Connection, entries: Sequence[Entry]) -> list[Written]:
        now = self._core.now()
        written = [Written() for _ in entries]
        self._finish(connection, entries, written, now)
        self._begin(connection, entries, written, now)
        for entry, its in zip(entries, written, strict=True):
            its.events += self._note_health(connection, entry, now)
            if entry.ends:
                its.released = claim.release(connection, entry.lease.token)
        return written

    def _finish(
        self,
        connection: sa.Connection,
        entries: Sequence[Entry],
        written: Sequence[Written],
        now: datetime,
    ) -> None:
        dones = [entry.done for entry in entries if entry.done is not None]
        if not dones or not record.finish(connection, dones, now):
            return
        for entry, its in zip(entries, written, strict=True):
            if entry.done is not None:
                its.events += facts.of_attempt(
                    entry.done.message,
                    entry.carrier,
                    entry.done.decision,
                    entry.done.report,
                    now=now,
                    max_attempts=entry.max_attempts,
                )

    def _begin(
        self,
        connection: sa.Connection,
        entries: Sequence[Entry],
        written: Sequence[Written],
        now: datetime,
    ) -> None:
        asking = [
            (entry, its)
            for entry, its in zip(entries, written, strict=True)
            if entry.following is not None
        ]
        current = record.still_current(connection, [entry.carrier for entry, _ in asking])
        for entry, its in asking:
            its.began = True if entry.carrier.id in current else None
        begins = []
        for entry, its in asking:
            if its.began and entry.following is not None:
                if entry.again:
                    record.forget(connection, entry.following)
                begins.append(Begin(entry.following, entry.carrier, entry.worker))
        if begins and not record.begin(connection, begins, now):
            for _, its in asking:  # a single one, or it would have been contested
                its.began = False

    def _note_health(self, connection: sa.Connection, entry: Entry, now: datetime) -> list[Event]:
        done, carrier = entry.done, entry.carrier
        if done is None:
            return []
        if done.decision.blames is None:
            if not entry.success_is_news:
                return []
            recovered = note_success(connection, carrier.id, now)
            return [
                facts.of_connection("connection_recovered", carrier, None, now=now, retry_at=None)
            ] * recovered
        trouble = Trouble.from_verdict(
            done.decision.blames, done.report.stage, done.report.reply, entry.began_at
        )
        opened, retry_at = breaker.note_failure(connection, carrier.id, trouble, now)
        return [
            facts.of_connection("connection_failed", carrier, trouble, now=now, retry_at=retry_at)
        ] * opened
