"""How the outbox fares: one snapshot, which overview, health report and command line render.

Must not know Flask nor how a snapshot is shown.
"""

from __future__ import annotations

from dataclasses import replace

from flask_smtp_admin.core import Core

from . import problems, reading
from .reading import connection_state
from .records import ConnectionFacts, Problem, Snapshot, WorkerFacts
from .report import as_data, first_line, unusable

__all__ = [
    "ConnectionFacts",
    "Problem",
    "Snapshot",
    "WorkerFacts",
    "as_data",
    "connection_state",
    "first_line",
    "take",
    "unusable",
]


def take(core: Core, dispatch: str) -> Snapshot:
    """Take a snapshot and name its problems.

    :param dispatch: who delivers, as the application resolved it; it decides the remedies.
    :raises OutboxUnavailable: the database cannot be reached.
    :raises ConfigurationError: a setting does not let one get at it; :func:`unusable` reports both.
    """
    snapshot = reading.read(core, dispatch)
    found = tuple(problems.find(snapshot))
    notes = tuple(problems.find_notes(snapshot, found))
    return replace(snapshot, problems=found, notes=notes)
