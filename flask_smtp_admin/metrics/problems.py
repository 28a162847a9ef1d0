"""What counts as a problem, its sentence, and what to do about it.

Owns the thresholds and the words. Pure: it judges a snapshot and must not know the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from flask_smtp_admin import wording
from flask_smtp_admin.wording import Count

from .records import ConnectionFacts, Problem, Snapshot

LATE_AFTER = timedelta(minutes=1)
"""A message that has been due for longer than this while nobody delivers is a problem."""
STALLED_AFTER = timedelta(minutes=10)
"""The same while a worker runs and its connection is well."""
SECOND = timedelta(seconds=1)

WORKER_COMMAND = "flask --app YOUR_APP smtp-admin worker"

REMEDIES = {
    "rq": ("Start one:", WORKER_COMMAND),
    "embedded": (
        (
            "The worker is a thread of the application: it starts with the application's first "
            "request, so open any page of it. If that has happened, look into its log."
        ),
        "",
    ),
    "inline": (
        "Messages are delivered by the call that sends them; what is due later needs a run of:",
        f"{WORKER_COMMAND} --burst",
    ),
    "none": (
        "SMTP_ADMIN_DISPATCH is 'none' here, so this process delivers nothing. Start a worker:",
        WORKER_COMMAND,
    ),
}
"""What to do when no worker is there, by dispatch: a sentence, and a command where there is one."""


def find(snapshot: Snapshot) -> list[Problem]:
    """Return what keeps messages back, the most pressing first.

    Each cause is looked for by itself, so that none hides behind another.
    """
    found = [
        *_connection_problems(snapshot),
        *_of_disabled(snapshot),
        *_unrouted(snapshot),
    ]
    worker = _worker_problem(snapshot)
    if worker is not None:
        return [worker, *found]
    return [*found, *_stalled(snapshot)]


def find_notes(snapshot: Snapshot, problems: Sequence[Problem]) -> list[Problem]:
    """Return what is worth a look although it keeps nothing back."""
    notes = [_paused(one, snapshot) for one in snapshot.connections if one.state == "paused"]
    notes += [
        _unsteady(one, snapshot)
        for one in snapshot.connections
        if one.state == "unsteady" and one.due
    ]
    if snapshot.failed_today:
        were = wording.agreeing(snapshot.failed_today, "was", "were")
        sentence = f"{wording.counted(snapshot.failed_today, 'message')} {were} given up today."
        notes.append(Problem("failed_today", sentence))
    if snapshot.held:
        wait = wording.agreeing(snapshot.held, "is held and waits", "are held and wait")
        sentence = f"{wording.counted(snapshot.held, 'message')} {wait} for somebody to decide."
        notes.append(Problem("held", sentence))
    idle = _idle(snapshot, problems)
    return notes if idle is None else [idle, *notes] if snapshot.due else [*notes, idle]


def _idle(snapshot: Snapshot, problems: Sequence[Problem]) -> Problem | None:
    """Report that no worker runs, before anything has waited long enough to be a problem."""
    if snapshot.workers or any(problem.code == "no_worker" for problem in problems):
        return None
    # A thread of the application comes with its first request, and inline there is no worker.
    if snapshot.dispatch == "inline" or (snapshot.dispatch == "embedded" and not snapshot.due):
        return None
    if snapshot.due:
        is_due = wording.agreeing(snapshot.due, "is", "are")
        sentence = f"No worker runs; {wording.counted(snapshot.due, 'message')} {is_due} due."
    elif snapshot.waiting:
        sentence = "No worker runs; nothing is due yet."
    else:
        sentence = "No worker runs; nothing waits for one yet."
    remedy, command = REMEDIES[snapshot.dispatch]
    return Problem("idle", sentence, remedy, command)


def _worker_problem(snapshot: Snapshot) -> Problem | None:
    """Report that messages are due and nobody delivers them."""
    age = snapshot.oldest_due_age
    if snapshot.workers or age is None or age < LATE_AFTER:
        return None
    if snapshot.last_seen_at is None:
        seen = "No worker has been seen yet"
    else:
        away = wording.span(snapshot.taken_at - snapshot.last_seen_at)
        seen = f"No worker has been seen for {away}"
    remedy, command = REMEDIES[snapshot.dispatch]
    return Problem(
        "no_worker",
        f"{seen}; {_undone(snapshot)}.",
        remedy,
        command,
    )


def _undone(snapshot: Snapshot) -> str:
    """Return what nobody does: the messages that are due, and those that a worker left behind."""
    due, stuck = snapshot.due, snapshot.stuck
    parts = []
    if due or not stuck:
        parts.append(f"{wording.counted(due, 'message')} {wording.agreeing(due, 'is', 'are')} due")
    if stuck:
        parts.append(_left_behind(stuck))
    return wording.listed(parts)


def _left_behind(stuck: Count) -> str:
    was = wording.agreeing(stuck, "was", "were")
    return f"{wording.counted(stuck, 'message')} {was} left behind by one that has gone silent"


def _connection_problems(snapshot: Snapshot) -> Sequence[Problem]:
    unsent = snapshot.due + snapshot.waiting
    enabled = [one for one in snapshot.connections if one.state != "off"]
    if not enabled:
        if not unsent:
            return []
        verb = wording.agreeing(unsent, "waits", "wait")
        what = "enabled" if snapshot.connections else "set up"
        return [
            Problem(
                "no_connection",
                f"No connection is {what}; {wording.counted(unsent, 'message')} {verb}.",
                "Enable one." if snapshot.connections else "Add one.",
            )
        ]
    return [_failing(one, snapshot) for one in enabled if one.state == "failing"]


def _failing(one: ConnectionFacts, snapshot: Snapshot) -> Problem:
    why = wording.decapitalised(one.reason or "no reason was recorded")
    sentence = f"“{one.caption}” {_how_long(one, snapshot)}: {why}{_kept(one)}."
    remedy = f"{one.advice} {_again(one, snapshot, 'It is tried again')}".strip()
    return Problem("connection_failing", sentence, remedy, "", one.id)


def _how_long(one: ConnectionFacts, snapshot: Snapshot) -> str:
    if one.failing_since is None:
        return "cannot be used"
    away = snapshot.taken_at - one.failing_since
    return "has just failed" if away < SECOND else f"has been failing for {wording.span(away)}"


def _unsteady(one: ConnectionFacts, snapshot: Snapshot) -> Problem:
    why = wording.decapitalised(one.reason or "no reason was recorded")
    sentence = f"“{one.caption}” failed a moment ago: {why}{_kept(one)}."
    return Problem("unsteady", sentence, _again(one, snapshot, "It is tried again"), "", one.id)


def _paused(one: ConnectionFacts, snapshot: Snapshot) -> Problem:
    why = wording.decapitalised(one.reason or "no reason was recorded")
    sentence = f"“{one.caption}” is paused: {why}{_kept(one)}."
    return Problem("paused", sentence, _again(one, snapshot, "It goes on"), "", one.id)


def _kept(one: ConnectionFacts) -> str:
    """Return how many messages a connection keeps waiting, to end its sentence."""
    if not one.due:
        return ""
    return f"; {wording.counted(one.due, 'message')} {wording.agreeing(one.due, 'waits', 'wait')}"


def _again(one: ConnectionFacts, snapshot: Snapshot, words: str) -> str:
    if one.retry_at is None or one.retry_at <= snapshot.taken_at:
        return ""
    return f"{words} {wording.relative(one.retry_at, snapshot.taken_at)}."


def _of_disabled(snapshot: Snapshot) -> Sequence[Problem]:
    """Report due messages whose connection is disabled: they can never leave by themselves."""
    off = [one for one in snapshot.connections if one.state == "off" and _is_late(one, snapshot)]
    if all(one.state == "off" for one in snapshot.connections):
        return []  # that no connection is enabled is said already
    return [
        Problem(
            "unrouted",
            f"{wording.counted(one.due, 'message')} of the disabled connection "
            f"“{one.caption}” {wording.agreeing(one.due, 'is', 'are')} due.",
            "Enable the connection, or move "
            f"{wording.agreeing(one.due, 'the message', 'the messages')} to another one.",
            "",
            one.id,
        )
        for one in off
    ]


def _is_late(one: ConnectionFacts, snapshot: Snapshot) -> bool:
    return one.oldest_due_at is not None and snapshot.taken_at - one.oldest_due_at >= LATE_AFTER


def _unrouted(snapshot: Snapshot) -> Sequence[Problem]:
    """Report due messages that no connection carries."""
    oldest = snapshot.unrouted_since
    nobody = all(one.state == "off" for one in snapshot.connections)
    if nobody or oldest is None or snapshot.taken_at - oldest < LATE_AFTER:
        return []
    return [
        Problem(
            "unrouted",
            f"{wording.counted(snapshot.unrouted, 'message')} "
            f"{wording.agreeing(snapshot.unrouted, 'is', 'are')} due, and no enabled connection "
            f"carries mail from {wording.agreeing(snapshot.unrouted, 'its', 'their')} sender.",
            f"Move {wording.agreeing(snapshot.unrouted, 'it', 'them')} to a connection, or add a "
            "sender pattern to one.",
        )
    ]


def _stalled(snapshot: Snapshot) -> Sequence[Problem]:
    """Report due messages that are not taken although a worker runs and the connection is well."""
    if snapshot.stuck:
        return [
            Problem(
                "stalled",
                f"A worker runs, but {_left_behind(snapshot.stuck)}, and it does not take "
                f"{wording.agreeing(snapshot.stuck, 'it', 'them')} over.",
                "Look at the log of the worker, or start another one.",
            )
        ]
    waits = [
        one.oldest_due_at
        for one in snapshot.connections
        if one.oldest_due_at is not None and one.state not in ("paused", "off", "failing")
    ]
    oldest = min(waits, default=None)
    if oldest is None or snapshot.taken_at - oldest < STALLED_AFTER:
        return []
    return [
        Problem(
            "stalled",
            f"The oldest due message has waited for {wording.span(snapshot.taken_at - oldest)}, "
            "although a worker runs.",
            "Either more is queued than the connections' limits let through, or the worker "
            "hangs: look at its log, or start another one.",
        )
    ]
