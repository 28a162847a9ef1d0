"""The log: every attempt, whether it was accepted, when and by whom.

Owns the list, with what is in progress at its top. What a line says comes from
:mod:`flask_smtp_admin.explanation`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import sqlalchemy as sa
from flask import render_template
from sqlalchemy.orm import Session

from flask_smtp_admin import paging
from flask_smtp_admin.explanation import explain_attempt, explain_flight
from flask_smtp_admin.models import Attempt, AttemptStatus, Flight, Message, is_being_sent
from flask_smtp_admin.search import ATTEMPTS, FLIGHTS, MESSAGES
from flask_smtp_admin.wording import Count

from . import filters, listing
from .access import core
from .filters import Filter, Tab
from .listing import TabView

ALL = Tab("", "All")
IN_PROGRESS = Tab("progress", "In progress", (AttemptStatus.IN_PROGRESS,))
TABS = (
    ALL,
    Tab("fail", "Failed", (AttemptStatus.FAIL,)),
    Tab("success", "Succeeded", (AttemptStatus.SUCCESS,)),
    IN_PROGRESS,
)
MOST_FLIGHTS = 100
"""There is one a session at most, so that they need no pages."""
LOOK_AT = 1_000
"""So many of them are searched."""


@dataclass(frozen=True)
class Row:
    """An attempt in the list.

    :param number: of the attempt; it is given when it has ended.
    :param queued: its message has not been sent to everybody yet.
    """

    attempt: Attempt | Flight
    number: int | None
    status: AttemptStatus
    reason: str
    queued: bool
    is_there: bool = True
    """Whether there still is its message."""


def log_list() -> str:
    """Show the attempts."""
    with core().database.session() as session:
        connection = session.connection()
        filter_ = filters.read(session, "log_list", ATTEMPTS, TABS)
        # Before the attempts, or one that is just ending would be in neither.
        flights = _flights(session, filter_) if filter_.understood else []
        found = listing.read(connection, filter_)
        rows = read_rows(session, found.page.ids)
        ended = {(row.attempt.message_id, row.attempt.lease_token) for row in rows}
        flights = [one for one in flights if (one.message_id, one.lease_token) not in ended]
    count = Count(min(len(flights), MOST_FLIGHTS), len(flights) > MOST_FLIGHTS)
    if not filter_.search.statuses:
        found = replace(found, tabs=tuple(_with(tab, count) for tab in found.tabs))
    if found.first and _wants_flights(filter_):
        rows = [*_flight_rows(flights[:MOST_FLIGHTS]), *rows]
    return render_template("smtp_admin/log/list.html", filter=filter_, listing=found, rows=rows)


def _wants_flights(filter_: Filter) -> bool:
    return not filter_.statuses or AttemptStatus.IN_PROGRESS in filter_.statuses


def _flights(session: Session, filter_: Filter) -> list[Flight]:
    """Return what is in progress and meets the search, whatever the states; the newest first."""
    # Named, so that a database sees how few they are: for unknown ones it might look at the recipients
    # of all messages first.
    going = session.scalars(sa.select(Flight.message_id).limit(LOOK_AT)).all()
    if not going:
        return []
    asked = filter_.over(FLIGHTS)
    return list(
        session.scalars(
            sa.select(Flight)
            .where(
                Flight.message_id.in_(going),
                is_being_sent(),
                *paging.conditions(FLIGHTS.table, asked.criteria(statuses=())),
            )
            .order_by(Flight.started_at.desc(), Flight.message_id.desc())
            .limit(MOST_FLIGHTS + 1)
        )
    )


def _with(view: TabView, flights: Count) -> TabView:
    """Return a tab whose count has what is in progress in it."""
    if view.tab is IN_PROGRESS:
        return replace(view, count=flights)
    if view.tab is ALL and view.count is not None:
        return replace(view, count=view.count + flights)
    return view


def _flight_rows(flights: Iterable[Flight]) -> list[Row]:
    return [
        Row(flight, None, AttemptStatus.IN_PROGRESS, explain_flight(flight), queued=True)
        for flight in flights
    ]


def read_rows(session: Session, ids: tuple[int, ...]) -> list[Row]:
    """Return the attempts with these numbers, newest first."""
    attempts = session.scalars(
        sa.select(Attempt).where(Attempt.id.in_(ids)).order_by(Attempt.id.desc())
    ).all()
    messages = {attempt.message_id for attempt in attempts}
    states = {
        row.id: row.status
        for row in session.execute(
            sa.select(Message.id, Message.status).where(Message.id.in_(messages))
        )
    }
    return [
        Row(
            attempt,
            attempt.id,
            attempt.status,
            explain_attempt(attempt),
            queued=states.get(attempt.message_id) in MESSAGES.statuses["unsent"],
            is_there=attempt.message_id in states,
        )
        for attempt in attempts
    ]
