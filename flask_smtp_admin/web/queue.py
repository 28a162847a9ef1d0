"""The queue: which messages have not been sent, why, and what happens next.

Owns the list and the acts on several messages. What a row says comes from
:mod:`flask_smtp_admin.explanation`, what an act does from :mod:`flask_smtp_admin.outbox`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from flask import flash, redirect, render_template, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from flask_smtp_admin import paging, surroundings
from flask_smtp_admin.errors import UnknownConnection
from flask_smtp_admin.explanation import Explanation, Surroundings, explain
from flask_smtp_admin.models import Message, Status
from flask_smtp_admin.search import MESSAGES
from flask_smtp_admin.wording import Count

from . import acts, filters, listing, tries
from .access import core, state
from .act_form import SelectionForm
from .acts import ACTS, Act
from .filters import Filter, Tab

TABS = (
    Tab("", "All unsent", MESSAGES.statuses["unsent"]),
    Tab("waiting", "Waiting", (Status.QUEUED, Status.SENDING)),
    Tab("held", "Held", (Status.HELD,)),
    Tab("failed", "Failed", (Status.FAILED, Status.PARTIAL)),
)
MOST_IDS = max(listing.SIZES)


@dataclass(frozen=True)
class Row:
    """A message in the list."""

    message: Message
    explanation: Explanation
    earlier: int
    """Tries from before it was put back into the queue, which count no more."""


@dataclass(frozen=True)
class Selection:
    """The messages that an act is asked for.

    :param asked: how many rows were ticked; ``None`` when it is all that match.
    :param cut: whether more match than one act takes.
    """

    where: Sequence[sa.ColumnElement[bool]]
    asked: int | None
    deletable: Count
    cut: bool = False


def queue_list() -> str:
    """Show the messages that have not been sent."""
    with core().database.session() as session:
        connection = session.connection()
        filter_ = filters.read(session, "queue_list", MESSAGES, TABS)
        found = listing.read(connection, filter_)
        around = surroundings.read(session, core(), state().dispatch)
        rows = read_rows(session, found.page.ids, around)
    return render_template(
        "smtp_admin/queue/list.html",
        filter=filter_,
        listing=found,
        rows=rows,
        around=around,
        acts=ACTS,
    )


def read_rows(session: Session, ids: Sequence[int], around: Surroundings) -> list[Row]:
    """Return the messages with these numbers, newest first, each explained."""
    found = session.scalars(
        sa.select(Message).where(Message.id.in_(ids)).order_by(Message.id.desc())
    ).all()
    before = tries.earlier(session, found)
    around = surroundings.of_messages(session, around, found)
    return [Row(one, explain(one, around), before.get(one.id, 0)) for one in found]


def queue_act() -> Response | str:
    """Act on the selected messages, or on all that match; deleting asks first."""
    with core().database.session() as session:
        connection = session.connection()
        filter_ = filters.read(session, "queue_list", MESSAGES, TABS)
        form = SelectionForm()
        act = form.read()
        selection = _selection(connection, filter_, form) if filter_.understood else None
    if not filter_.understood:
        flash(" ".join(("Nothing was changed.", *filter_.problems)), "error")
    elif selection is None:
        flash("Nothing was changed: no message was selected.", "warning")
    elif act.name == "delete" and (not form.confirmed.data or _grown(selection, form)):
        return _ask(filter_, selection, form)
    else:
        _perform(act, selection, form)
    return redirect(filter_.url(**_cursors()), code=303)


def _cursors() -> dict[str, str]:
    return {name: request.args[name] for name in ("before", "after") if name in request.args}


def _grown(selection: Selection, form: SelectionForm) -> bool:
    """Tell whether more would be deleted than the question named.

    Ids up to the newest do not settle it: a message may have got into the state or the age that
    the filter asks for since.
    """
    if not form.confirmed.data or selection.asked is not None:
        return False
    return form.shown.data is None or selection.deletable.number > form.shown.data


def _ask(filter_: Filter, selection: Selection, form: SelectionForm) -> str:
    """Show the question before messages are deleted, with their number."""
    return render_template(
        "smtp_admin/queue/delete.html",
        filter=filter_,
        selection=selection,
        question=acts.question(selection.deletable),
        ids=form.id.data if selection.asked is not None else [],
        newest=form.newest.data,
        grown=_grown(selection, form),
        cursors=_cursors(),
    )


def _perform(act: Act, selection: Selection, form: SelectionForm) -> None:
    if form.lacks_target:
        flash("Nothing was moved: choose the connection that is to carry the messages.", "warning")
        return
    try:
        changed = acts.perform(core(), act, selection.where, form.to.data)
    except UnknownConnection as error:
        flash(str(error), "error")
        return
    idle = act.name == "move" and acts.is_idle(core(), form.to.data)
    category, sentence = acts.outcome(act, changed, selection.asked, cut=selection.cut, idle=idle)
    flash(sentence, category)


def _selection(connection: sa.Connection, filter_: Filter, form: SelectionForm) -> Selection | None:
    """Find which messages the form means; ``None`` when it means none."""
    if form.all.data:
        return _all_that_match(connection, filter_, form.newest.data)
    ids = set(form.id.data or ())
    if not ids or len(ids) > MOST_IDS:
        return None
    where = [Message.id.in_(sorted(ids))]
    deletable = sa.select(sa.func.count()).where(*where, Message.status.in_(_deletable()))
    return Selection(where, len(ids), Count(connection.scalar(deletable) or 0))


def _all_that_match(
    connection: sa.Connection, filter_: Filter, up_to: int | None
) -> Selection | None:
    if up_to is None:
        return None
    where, rest = paging.reach(connection, MESSAGES.table, filter_.criteria(), up_to=up_to)
    states = [status for status in filter_.statuses or tuple(Status) if status in _deletable()]
    criteria = filter_.criteria(states)
    deletable = paging.count(connection, MESSAGES.table, criteria, up_to=up_to)
    return Selection(where, None, deletable if states else Count(0), rest is not None)


def _deletable() -> frozenset[Status]:
    return ACTS["delete"].states
