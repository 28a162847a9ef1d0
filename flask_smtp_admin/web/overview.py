"""The overview answers whether mail is going out.

Owns the page. Every number and sentence comes from :mod:`flask_smtp_admin.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from flask import render_template
from sqlalchemy.orm import Session

from flask_smtp_admin import connections, metrics
from flask_smtp_admin.connections import HealthWords
from flask_smtp_admin.metrics import Snapshot
from flask_smtp_admin.models import Attempt, AttemptStatus, Connection
from flask_smtp_admin.wording import Count

from . import log
from .access import core, state
from .formatting import Formatter

LAST_FAILURES = 5


@dataclass(frozen=True)
class Card:
    """A connection, how many of its messages are due, and how it fares."""

    connection: Connection
    due: Count
    health: HealthWords


def overview_show() -> str:
    """Show how the outbox fares."""
    snapshot = metrics.take(core(), state().dispatch)
    with core().database.session() as session:
        failures = session.scalars(
            sa.select(Attempt.id)
            .where(Attempt.status == AttemptStatus.FAIL)
            .order_by(Attempt.id.desc())
            .limit(LAST_FAILURES)
        ).all()
        rows = log.read_rows(session, tuple(failures))
        cards = _cards(session, snapshot)
    return render_template(
        "smtp_admin/overview/show.html",
        snapshot=snapshot,
        first_line=metrics.first_line(snapshot),
        failures=rows,
        cards=cards,
        # By the clock of the database, as the snapshot: a worker was not seen two minutes ago only
        # because this machine is ahead.
        fmt=Formatter(snapshot.taken_at, core().config.zone),
    )


def _cards(session: Session, snapshot: Snapshot) -> list[Card]:
    """Return the connections with their health, in the words of their own page."""
    known = core()
    facts = {one.id: one for one in snapshot.connections}
    found = session.scalars(sa.select(Connection).order_by(*connections.ORDER)).unique()
    return [
        Card(
            connection,
            facts[connection.id].due,
            connections.describe(
                connection,
                waiting=facts[connection.id].due,
                now=snapshot.taken_at,
                zone=known.config.zone,
                keys=known.keys,
            ),
        )
        for connection in found
        if connection.id in facts
    ]
