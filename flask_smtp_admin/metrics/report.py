"""A snapshot as plain data, for machines, and as one line, for people.

Owns the names of the report's fields, which monitoring relies on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_smtp_admin.errors import ConfigurationError, SMTPAdminError
from flask_smtp_admin.wording import Count, agreeing, counted, span

from .records import ConnectionFacts, Problem, Snapshot, WorkerFacts


def first_line(snapshot: Snapshot) -> str:
    """Answer "is my mail going out?" in a sentence."""
    if snapshot.problems:
        return snapshot.problems[0].sentence
    if snapshot.hindrance is not None:
        return snapshot.hindrance.sentence
    if all(one.state == "off" for one in snapshot.connections):
        return "Nothing can be sent yet: no connection is enabled. Nothing waits for one."
    sent = (
        counted(snapshot.sent_today, "message") + " sent today"
        if snapshot.sent_today
        else ("nothing sent yet today")
    )
    return f"All well: {sent}, {_waits(snapshot)}."


def _waits(snapshot: Snapshot) -> str:
    """Return how long what is due has waited, and how much is not due yet."""
    age, later = snapshot.oldest_due_age, snapshot.waiting
    longest = "" if age is None else f"longer than {span(max(age.total_seconds(), 1))}"
    if not later and not snapshot.held:
        return f"nothing waits {longest or 'to be sent'}"
    due = f"nothing that is due waits {longest}" if longest else "nothing is due"
    if not later:
        return due
    return f"{due}; {counted(later, 'message')} {agreeing(later, 'waits', 'wait')} for later"


def as_data(snapshot: Snapshot) -> dict[str, Any]:
    """Return the snapshot as data fit for JSON: times in ISO 8601, spans in seconds.

    A count that stopped at its bound of 100,000 is that number.
    """
    age = snapshot.oldest_due_age
    return {
        "healthy": snapshot.healthy,
        "summary": first_line(snapshot),
        "taken_at": snapshot.taken_at.isoformat(),
        "dispatch": snapshot.dispatch,
        **{
            name: getattr(snapshot, name).number
            for name in ("due", "waiting", "sending", "stuck", "held", "failed")
        },
        "sent_today": snapshot.sent_today.number,
        "failed_today": snapshot.failed_today.number,
        "oldest_due_seconds": None if age is None else round(age.total_seconds(), 3),
        "last_sweep_at": _time(snapshot.last_sweep_at),
        "workers": [_worker(one) for one in snapshot.workers],
        "connections": [_connection(one) for one in snapshot.connections],
        "problems": [_problem(one) for one in snapshot.problems],
    }


def unusable(error: SMTPAdminError) -> dict[str, Any]:
    """Return the data where no snapshot can be taken: the database or a setting is in the way."""
    code = "configuration" if isinstance(error, ConfigurationError) else "database"
    sentence = str(error)
    return {
        "healthy": False,
        "summary": sentence,
        "problems": [_problem(Problem(code, sentence))],
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.number if isinstance(value, Count) else value


def _worker(one: WorkerFacts) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(one).items()}


def _connection(one: ConnectionFacts) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(one).items()}


def _problem(one: Problem) -> dict[str, Any]:
    return {
        "code": one.code,
        "sentence": one.sentence,
        "remedy": one.remedy,
        "command": one.command,
    }
