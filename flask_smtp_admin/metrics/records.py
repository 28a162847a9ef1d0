"""The records of a snapshot of the outbox.

Owns their fields. Must not know how they are read, judged or shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_smtp_admin.wording import Count


@dataclass(frozen=True)
class Problem:
    """Something that keeps messages back, or soon will.

    :param code: a word for machines: ``no_worker``, ``no_connection``, ``connection_failing``,
        ``stalled``, ``unrouted``; those of notes are at :attr:`Snapshot.notes`.
    :param sentence: what is the matter.
    :param remedy: what to do about it.
    :param command: what to type, where the remedy ends with a command.
    :param connection_id: the connection that it is about.
    """

    code: str
    sentence: str
    remedy: str = ""
    command: str = ""
    connection_id: int | None = None

    @property
    def text(self) -> str:
        """The problem and its remedy as one text."""
        return " ".join(part for part in (self.sentence, self.remedy, self.command) if part)


@dataclass(frozen=True)
class ConnectionFacts:
    """A connection and its health.

    :param state: ``ok``, ``untried``, ``unsteady`` (failed a moment ago), ``failing`` (its breaker
        is open), ``paused`` (a limit of the server's or of ours) or ``off``.
    """

    id: int
    caption: str
    host: str
    port: int
    state: str
    failing_since: datetime | None
    retry_at: datetime | None
    last_ok_at: datetime | None
    reason: str
    advice: str
    due: Count
    oldest_due_at: datetime | None


@dataclass(frozen=True)
class WorkerFacts:
    """A worker that has been seen lately."""

    id: str
    kind: str
    hostname: str
    pid: int
    started_at: datetime
    seen_at: datetime
    swept_at: datetime | None
    sent_count: int


@dataclass(frozen=True)
class Snapshot:
    """The outbox at one moment. Times are aware and in UTC.

    :param due: waiting messages whose time has come, whatever keeps them.
    :param waiting: waiting messages with a later time.
    :param sending: messages that a worker has in hand.
    :param stuck: those of ``sending`` whose worker went silent more than a minute ago.
    :param sent_today: since midnight in the site's zone; partly sent ones count.
    :param failed_today: given up since then.
    :param unrouted: due messages that have no connection.
    :param unrouted_since: since when the oldest of them is due.
    :param oldest_due_at: since when the oldest message is due that waits or is stuck.
    :param last_seen_at: when any worker was last seen, also one that has stopped.
    """

    taken_at: datetime
    dispatch: str
    due: Count
    waiting: Count
    sending: Count
    stuck: Count
    held: Count
    failed: Count
    sent_today: Count
    failed_today: Count
    oldest_due_at: datetime | None
    unrouted: Count
    unrouted_since: datetime | None
    connections: tuple[ConnectionFacts, ...]
    workers: tuple[WorkerFacts, ...]
    last_seen_at: datetime | None
    last_sweep_at: datetime | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    """What is worth a look and passes by itself: ``paused``, ``unsteady``, ``failed_today``,
    ``held``, ``idle``."""

    @property
    def healthy(self) -> bool:
        """Whether nothing keeps messages back."""
        return not self.problems

    @property
    def hindrance(self) -> Problem | None:
        """What keeps messages for a moment although nothing is wrong yet, where there is such."""
        kept = {one.id for one in self.connections if one.due}
        for note in self.notes:
            if note.code in ("unsteady", "paused") and note.connection_id in kept:
                return note
            if note.code == "idle" and self.due:
                return note
        return None

    @property
    def oldest_due_age(self) -> timedelta | None:
        """How long the oldest due message has waited."""
        return None if self.oldest_due_at is None else self.taken_at - self.oldest_due_at
