"""What the lanes of a worker write, several of them in one transaction.

Owns the transaction: each lane waits for its own outcome to be durable, and the cost of a commit is
shared. Must not know sockets, nor what a lane does next, nor who brings the lanes together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from ..bulk import Runs
from ..connections import Began, note_success
from ..core import Core
from ..errors import OutboxUnavailable
from ..signals import Event
from . import breaker, claim, facts, record, together
from .breaker import Trouble
from .claim import Claimed
from .decide import Decision
from .plain import in_ascii
from .record import Begin, Carrier, Done
from .supply import Leaving
from .together import Rows


@dataclass(slots=True)
class Entry:
    """What one lane wants written.

    :param done: the message that was sent last, and its outcome.
    :param following: the message that is sent next, to be marked as in flight.
    :param forgotten: a message that is not sent, though it may have been marked.
    :param leaving: what goes back, as no lane is left.
    :param began_at: when the lane began: lanes that failed side by side count as one failure.
    :param success_is_news: whether a success is to be written into the connection's health.
    :param again: whether a commit of this entry failed before, and may have been made all the same.
    :param rows: the first two as rows, once they have been made.
    """

    carrier: Carrier
    worker: str
    began_at: datetime
    max_attempts: int
    success_is_news: bool = False
    done: Done | None = None
    following: Claimed | None = None
    forgotten: Claimed | None = None
    leaving: Leaving | None = None
    again: bool = False
    rows: Rows | None = None


@dataclass
class Written:
    """What came of an entry.

    ``began``: the following message may be sent; ``None`` when the connection was changed or
    switched off meanwhile, so that nothing more may be sent over it as it was.
    ``success_noted``: a success that was news has been taken into the connection's health.
    """

    events: list[Event] = field(default_factory=list)
    success_noted: bool = True
    began: bool | None = False
    released: int = 0


class Journal:
    """Writes entries of lanes. Thread-safe.

    :param prepare: is shown each connection before it is used.
    """

    def __init__(self, core: Core, prepare: Callable[[Runs], None] = lambda _: None) -> None:
        self._core = core
        self._prepare = prepare

    def ready(self, entry: Entry) -> Entry:
        """Do what can be done of writing an entry before its turn has come; return it."""
        if entry.rows is not None or not (_is_everyday(entry) and self._takes_groups()):
            return entry
        return replace(entry, rows=self._rows_of(entry))

    def write_all(self, entries: Sequence[Entry]) -> list[Written | BaseException]:
        """Commit the entries, together where that can be done, and return what came of each.

        An error is that of its own entry: :class:`~flask_smtp_admin.errors.OutboxUnavailable` when
        the database is away, and whether the entry was committed is not known.
        """
        # What may have been committed already needs a closer look, and so a transaction of its own.
        together = [entry for entry in entries if not entry.again]
        found = iter(self._together(together))
        return [self._apart(entry) if entry.again else next(found) for entry in entries]

    def _together(self, entries: Sequence[Entry]) -> Sequence[Written | BaseException]:
        if len(entries) < 2 and not self._fit_in_one(entries):
            return [self._apart(entry) for entry in entries]
        try:
            return self._store(entries)
        except OutboxUnavailable as error:
            return [error] * len(entries)
        except Exception:  # noqa: BLE001  (each is tried by itself, and meets its own error)
            return [self._apart(replace(entry, again=True)) for entry in entries]

    def _apart(self, entry: Entry) -> Written | BaseException:
        try:
            return self._store([entry])[0]
        except OutboxUnavailable as error:
            return error
        except Exception as error:  # noqa: BLE001  (raised where the lane waits)
            return self._in_plain_words(entry, error)
        except BaseException as error:  # noqa: BLE001  (the same; somebody wants it all to end)
            return error

    def _in_plain_words(self, entry: Entry, error: Exception) -> Written | BaseException:
        """Write an outcome at least in letters that the database takes: it must not be lost."""
        if entry.done is None:
            return error
        plain = replace(entry, done=in_ascii(entry.done), rows=None, again=True)
        try:
            return self._store([plain])[0]
        except OutboxUnavailable as away:
            return away
        except Exception:  # noqa: BLE001  (it was not for its words; the first error says why)
            return error

    def _store(self, entries: Sequence[Entry]) -> list[Written]:
        if all(map(_is_everyday, entries)):
            return self._store_rows(entries)
        with self._core.database.write() as connection:
            self._prepare(connection)
            return self._write(connection, entries)

    def _store_rows(self, entries: Sequence[Entry]) -> list[Written]:
        in_one = self._fit_in_one(entries)
        with self._core.database.write_rows(single=in_one) as rows:
            self._prepare(rows)
            return (self._write_together if in_one else self._write_rows)(rows, entries)

    def _fit_in_one(self, entries: Sequence[Entry]) -> bool:
        """Tell whether one statement can write the entries; even of one it saves six questions."""
        return (
            bool(entries)
            and self._takes_groups()
            and all(_is_everyday(entry) and not _is_of_a_secret(entry) for entry in entries)
        )

    def _takes_groups(self) -> bool:
        return together.is_possible(self._core.database.engine.dialect)

    def _rows_of(self, entry: Entry) -> Rows:
        begin = _begin(entry) if entry.following is not None else None
        return together.rows_of(entry.done, begin, self._core.now())

    # --- in the transaction ----------------------------------------------------------------------

    def _write(self, connection: sa.Connection, entries: Sequence[Entry]) -> list[Written]:
        now = self._core.now()
        for entry in entries:
            marked = entry.following or entry.forgotten
            if entry.again and marked is not None:
                record.forget(connection, marked)
        written = self._write_rows(connection, entries)
        for entry, its in zip(entries, written, strict=True):
            its.events += self._note_health(connection, entry, its, now)
            if entry.leaving is not None:
                its.released = _give_back(connection, entry.leaving)
        return written

    def _write_rows(self, connection: Runs, entries: Sequence[Entry]) -> list[Written]:
        now = self._core.now()
        written = [Written() for _ in entries]
        self._finish(connection, entries, written, now)
        self._begin(connection, entries, written, now)
        return written

    def _write_together(self, connection: Runs, entries: Sequence[Entry]) -> list[Written]:
        together.write(connection, [entry.rows or self._rows_of(entry) for entry in entries])
        written = [Written(began=entry.following is not None) for entry in entries]
        self._tell(entries, written, self._core.now())
        return written

    def _finish(
        self,
        connection: Runs,
        entries: Sequence[Entry],
        written: Sequence[Written],
        now: datetime,
    ) -> None:
        dones = [entry.done for entry in entries if entry.done is not None]
        if dones and record.finish(connection, dones, now):
            self._tell(entries, written, now)

    def _tell(self, entries: Sequence[Entry], written: Sequence[Written], now: datetime) -> None:
        """Note the events of outcomes that were written."""
        for entry, its in zip(entries, written, strict=True):
            if entry.done is not None and self._is_of_interest(entry.done.decision):
                its.events += facts.of_attempt(
                    entry.done.message,
                    entry.carrier,
                    entry.done.decision,
                    entry.done.report,
                    now=now,
                    max_attempts=entry.max_attempts,
                )

    def _is_of_interest(self, decision: Decision) -> bool:
        """Tell whether anybody would hear of it; most applications do not listen to successes."""
        return not facts.is_plain_success(decision) or self._core.hears("message_sent")

    def _begin(
        self,
        connection: Runs,
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
        still = [(entry, its) for entry, its in asking if its.began]
        if still and not record.begin(connection, [_begin(entry) for entry, _ in still], now):
            for _, its in still:  # a single one, or it would have been contested
                its.began = False

    def _note_health(
        self, connection: sa.Connection, entry: Entry, its: Written, now: datetime
    ) -> list[Event]:
        done, carrier = entry.done, entry.carrier
        if done is None:
            return []
        if done.decision.blames is None:
            if not (entry.success_is_news and record.still_current(connection, [carrier])):
                return []
            began = Began(message=done.started_at, lane=entry.began_at)
            its.success_noted, recovered = note_success(connection, carrier.id, now, began)
            return [
                facts.of_connection("connection_recovered", carrier, None, now=now, retry_at=None)
            ] * recovered
        if not record.still_current(connection, [carrier]):
            return []  # what the server of before says, is no trouble of the one that it leads to now
        trouble = Trouble.from_verdict(
            done.decision.blames, done.report.stage, done.report.reply, entry.began_at
        )
        opened, retry_at = breaker.note_failure(connection, carrier.id, trouble, now)
        return [
            facts.of_connection("connection_failed", carrier, trouble, now=now, retry_at=retry_at)
        ] * opened


def _begin(entry: Entry) -> Begin:
    assert entry.following is not None
    return Begin(entry.following, entry.carrier, entry.worker)


def _is_everyday(entry: Entry) -> bool:
    """Tell whether nothing but the rows of the message is to be written."""
    if entry.again or entry.leaving is not None:
        return False
    return entry.done is None or (entry.done.decision.blames is None and not entry.success_is_news)


def _is_of_a_secret(entry: Entry) -> bool:
    """Tell whether a body may have to be removed, which takes a statement of its own."""
    return entry.done is not None and entry.done.message.sensitive


def _give_back(connection: sa.Connection, leaving: Leaving) -> int:
    """Leave messages that were not offered to others, and return how many there were."""
    leaving.seats.write_down(connection, leaving.connection_id)
    return sum(claim.release(connection, lease.token) for lease in leaving.leases)
