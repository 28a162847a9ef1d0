"""The pages of the connections: list, form, order, switch, copy, deletion.

Owns what a person sees of them and the answers to their buttons. Rules and changes are in
:mod:`flask_smtp_admin.connections`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import abort, flash, render_template, request
from werkzeug.wrappers import Response

from flask_smtp_admin import connections
from flask_smtp_admin.connections import HealthWords, Preset
from flask_smtp_admin.errors import (
    ConfigurationError,
    ConnectionRefused,
    InvalidConnection,
    UnknownConnection,
)
from flask_smtp_admin.models import Connection
from flask_smtp_admin.wording import Count, counted

from . import access
from .connection_form import ADVANCED, ConnectionForm
from .forms import stripped
from .rendering import see_other

GET_POST = ("GET", "POST")
POST = ("POST",)


@dataclass(frozen=True)
class Row:
    """A line of the list: a connection and how it fares."""

    connection: Connection
    health: HealthWords


def connections_list() -> str:
    """Show every connection in the order of use, with its health."""
    core = access.core()
    with core.database.session() as session:
        found = session.scalars(sa.select(Connection).order_by(*connections.ORDER)).all()
        waiting = connections.waiting_counts(session, found)
        now = core.database_time(session.connection())
    rows = [
        Row(
            connection,
            connections.describe(
                connection,
                waiting=waiting[connection.id],
                now=now,
                zone=core.config.zone,
                keys=core.keys,
            ),
        )
        for connection in found
    ]
    return render_template("smtp_admin/connections/list.html", rows=rows, first_line=_answer(rows))


def _answer(rows: list[Row]) -> str:
    """Return the first line of the list, which tells whether the servers are healthy."""
    enabled = [row for row in rows if row.connection.enabled]
    broken = [row for row in enabled if row.health.mark == "fail"]
    if not rows:
        return ""
    if not enabled:
        return "No connection is enabled, so no mail can leave. Enable one."
    if broken:
        verb = "needs" if len(broken) == 1 else "need"
        return f"{len(broken)} of {counted(len(enabled), 'enabled connection')} {verb} attention."
    if len(enabled) == 1:
        return "One enabled connection carries all mail."
    return f"All {counted(len(enabled), 'enabled connection')} are ready to carry mail."


# ---------------------------------------------------------------- the form


def connections_new() -> str | Response | tuple[str, int]:
    """Show the empty form, or store a new connection."""
    form = form_of(None)
    if not form.is_submitted():
        return form_page(None, form)
    try:
        number = connections.create(access.core(), form.typed())
    except InvalidConnection as error:
        form.refuse(error.errors)
    except ConfigurationError as error:
        form.refuse({"password": str(error)})
    else:
        caption = stripped(form.caption.data)
        flash(f"“{caption}” is stored. Test it once before you rely on it.", "success")
        return see_other("test_show", connection_id=number)
    return form_page(None, form), 422


def connections_edit(connection_id: int) -> str | Response | tuple[str, int]:
    """Show a connection's form, or store what was changed."""
    stored = stored_or_404(connection_id)
    form = form_of(stored)
    if not form.is_submitted():
        return form_page(stored, form)
    waited = _waiting(stored)
    try:
        connections.update(access.core(), connection_id, form.typed())
    except InvalidConnection as error:
        form.refuse(error.errors)
    except ConfigurationError as error:
        form.refuse({"password": str(error)})
    except UnknownConnection:
        abort(404)
    else:
        flash(_saved(stored, form, waited), "success")
        return see_other("connections_list")
    return form_page(stored, form), 422


def form_of(stored: Connection | None) -> ConnectionForm:
    """Return the form of a connection, with what the request typed into it."""
    core = access.core()
    with core.database.session() as session:
        everybody = session.scalars(sa.select(Connection).order_by(*connections.ORDER)).all()
    others = [one for one in everybody if stored is None or one.id != stored.id]
    return ConnectionForm(core.config, others, stored, _preset())


def form_page(stored: Connection | None, form: ConnectionForm, **more: Any) -> str:
    """Return the page of the form.

    :param more: further names for the template: the report of a test.
    """
    core = access.core()
    return render_template(
        "smtp_admin/connections/edit.html",
        form=form,
        stored=stored,
        unreadable=connections.password_unreadable(stored, core.keys) if stored else "",
        advanced_open=form.any_wrong(*ADVANCED),
        presets=connections.PRESETS,
        default_attempts=core.config.max_attempts,
        preset=_preset(),
        **more,
    )


def _preset() -> Preset | None:
    return connections.BY_KEY.get(request.args.get("preset", ""))


def stored_or_404(connection_id: int) -> Connection:
    """Return a connection, or answer that nothing is here."""
    with access.core().database.session() as session:
        found = session.get(Connection, connection_id)
    if found is None:
        abort(404, "There is no such connection. It may have been deleted since.")
    return found


def _saved(stored: Connection, form: ConnectionForm, waited: Count) -> str:
    words = f"“{stripped(form.caption.data)}” is saved."
    if stored.enabled and not form.enabled.data:
        words = f"{words} {connections.after_disabling(waited, _waiting(stored))}".rstrip()
    if form.clear_password.data and not form.password.data:
        return f"{words} Its stored password was cleared."
    if stored.password_token is not None and not form.use_auth.data:
        with access.core().database.session() as session:
            now = session.get(Connection, stored.id)
        if now is not None and now.password_token is None:
            return f"{words} Its password was removed, since it belonged to other settings."
    return words


def _waiting(connection: Connection) -> Count:
    """Return how many messages wait for a connection."""
    with access.core().database.session() as session:
        return connections.waiting_counts(session, [connection])[connection.id]


# ---------------------------------------------------------------- the buttons of the list


def connections_enable(connection_id: int) -> Response:
    """Enable a connection."""
    stored = stored_or_404(connection_id)
    connections.enable(access.core(), connection_id)
    flash(f"“{stored.caption}” is enabled and tried with the next message.", "success")
    return see_other("connections_list")


def connections_disable(connection_id: int) -> Response:
    """Disable a connection, unless it is the only enabled one."""
    stored = stored_or_404(connection_id)
    waited = _waiting(stored)
    try:
        connections.disable(access.core(), connection_id)
    except ConnectionRefused as error:
        flash(str(error), "error")
    else:
        words = connections.after_disabling(waited, _waiting(stored))
        flash(f"“{stored.caption}” is disabled. {words}".rstrip(), "success")
    return see_other("connections_list")


def connections_move(connection_id: int) -> Response:
    """Move a connection one place up or down in the order of use."""
    stored = stored_or_404(connection_id)
    direction = "up" if request.form.get("direction") == "up" else "down"
    connections.move(access.core(), connection_id, -1 if direction == "up" else 1)
    flash(f"“{stored.caption}” was moved {direction}.", "success")
    return see_other("connections_list", _anchor=_arrow(connection_id, direction))


def _arrow(connection_id: int, direction: str) -> str:
    """Return the id of the arrow that takes the focus after a move: at an end the one back."""
    with access.core().database.session() as session:
        order = session.scalars(sa.select(Connection.id).order_by(*connections.ORDER)).all()
    ends = {"up": order[0], "down": order[-1]}
    back = {"up": "down", "down": "up"}
    wanted = back[direction] if connection_id == ends[direction] else direction
    return f"use-{wanted}-{connection_id}"


def connections_clone(connection_id: int) -> Response:
    """Copy a connection and lead to the copy."""
    stored = stored_or_404(connection_id)
    number = connections.clone(access.core(), connection_id)
    flash(
        f"This is a copy of “{stored.caption}”. It is disabled until you enable it.",
        "success",
    )
    return see_other("connections_edit", connection_id=number)


def connections_delete(connection_id: int) -> str | Response:
    """Ask whether to delete a connection, and delete it."""
    stored = stored_or_404(connection_id)
    if request.method == "POST":
        try:
            connections.delete(access.core(), connection_id)
        except ConnectionRefused as error:
            flash(str(error), "error")
        else:
            flash(f"“{stored.caption}” is deleted.", "success")
        return see_other("connections_list")
    return render_template(
        "smtp_admin/connections/delete.html",
        connection=stored,
        waiting=_waiting(stored),
        objection=connections.objection_to_deleting(access.core(), connection_id),
    )
