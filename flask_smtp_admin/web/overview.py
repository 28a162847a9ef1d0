"""The overview answers whether mail is going out.

Owns the page. Every number and sentence comes from :mod:`flask_smtp_admin.metrics`.
"""

from __future__ import annotations

import sqlalchemy as sa
from flask import render_template

from flask_smtp_admin import metrics
from flask_smtp_admin.metrics import ConnectionFacts
from flask_smtp_admin.models import Attempt, AttemptStatus

from . import log
from .access import core, route, state

LAST_FAILURES = 5

CONNECTION_MARKS = {
    "ok": ("ok", "Works"),
    "untried": ("info", "Not used yet"),
    "failing": ("fail", "Failing"),
    "paused": ("held", "Paused"),
    "off": ("off", "Disabled"),
}
"""The mark and the word of each state of a connection."""


@route("/", action="view")
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
    return render_template(
        "smtp_admin/overview/show.html",
        snapshot=snapshot,
        first_line=metrics.first_line(snapshot),
        failures=rows,
        mark_of=mark_of,
    )


def mark_of(connection: ConnectionFacts) -> tuple[str, str]:
    """Return the mark and the word of a connection's state."""
    return CONNECTION_MARKS[connection.state]
