"""The log: every attempt, whether it was accepted, when and by whom.

Owns the list. What a line says comes from :mod:`flask_smtp_admin.explanation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from flask import render_template
from sqlalchemy.orm import Session

from flask_smtp_admin.explanation import explain_attempt
from flask_smtp_admin.models import Attempt, AttemptStatus, Message
from flask_smtp_admin.search import ATTEMPTS, MESSAGES

from . import filters, listing
from .access import core, route
from .filters import Tab

TABS = (
    Tab("", "All"),
    Tab("fail", "Failed", (AttemptStatus.FAIL,)),
    Tab("success", "Succeeded", (AttemptStatus.SUCCESS,)),
    Tab("progress", "In progress", (AttemptStatus.IN_PROGRESS,)),
)


@dataclass(frozen=True)
class Row:
    """An attempt in the list. ``queued``: its message has not been sent to everybody yet."""

    attempt: Attempt
    reason: str
    queued: bool


@route("/log/", action="view")
def log_list() -> str:
    """Show the attempts."""
    with core().database.session() as session:
        connection = session.connection()
        filter_ = filters.read(session, "log_list", ATTEMPTS, TABS)
        found = listing.read(connection, filter_)
        rows = read_rows(session, found.page.ids)
    return render_template("smtp_admin/log/list.html", filter=filter_, listing=found, rows=rows)


def read_rows(session: Session, ids: tuple[int, ...]) -> list[Row]:
    """Return the attempts with these numbers, newest first."""
    attempts = session.scalars(
        sa.select(Attempt).where(Attempt.id.in_(ids)).order_by(Attempt.id.desc())
    ).all()
    messages = {attempt.message_id for attempt in attempts if attempt.message_id}
    queued = set(
        session.scalars(
            sa.select(Message.id).where(
                Message.id.in_(messages), Message.status.in_(MESSAGES.statuses["unsent"])
            )
        )
    )
    return [
        Row(attempt, explain_attempt(attempt), attempt.message_id in queued) for attempt in attempts
    ]
