"""The page of one message: what exactly happened, and what can be done.

Owns the page and the acts on one message. The content of the message is not shown here.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from flask import abort, flash, g, render_template
from sqlalchemy.orm import Session, undefer
from werkzeug.wrappers import Response

from flask_smtp_admin import surroundings
from flask_smtp_admin.errors import UnknownConnection
from flask_smtp_admin.explanation import explain, explain_attempt, explain_flight, max_attempts
from flask_smtp_admin.models import Attempt, Flight, Message, Recipient, Status
from flask_smtp_admin.search import MESSAGES

from . import acts, tries
from .access import core, state
from .act_form import ActForm
from .acts import ACTS
from .rendering import see_other

MOST_ATTEMPTS = 25
MOST_RECIPIENTS = 200
SPEAKERS = {"C": "client", "S": "server", "*": "note"}


class DialogueLine(NamedTuple):
    """A line of an SMTP dialogue: when, in milliseconds, who said it, and what."""

    milliseconds: str
    speaker: str
    text: str


def messages_show(number: int) -> str:
    """Show a message: its state, its recipients, its attempts."""
    with core().database.session() as session:
        message = _find(session, number)
        around = surroundings.of_messages(
            session, surroundings.read(session, core(), state().dispatch), [message]
        )
        # Read before the attempts, or one that is just ending would be in neither. Without a message
        # that is being sent, a mark means nothing.
        sending = message.status is Status.SENDING
        flight = session.get(Flight, number) if sending else None
        attempts = session.scalars(
            sa.select(Attempt)
            .options(undefer(Attempt.dialogue))
            .where(Attempt.message_id == number)
            .order_by(Attempt.id.desc())
            .limit(MOST_ATTEMPTS + 1)
        ).all()
        recipients = session.scalars(
            sa.select(Recipient)
            .where(Recipient.message_id == number)
            .order_by(Recipient.id)
            .limit(MOST_RECIPIENTS)
        ).all()
        earlier = tries.earlier(session, [message])
    if flight is not None and flight.lease_token in {one.lease_token for one in attempts}:
        flight = None  # it has ended meanwhile
    put_back = tries.put_back(attempts)
    unsent = message.status in MESSAGES.statuses["unsent"]
    g.smtp_admin_part = "queue" if unsent else "log"
    return render_template(
        "smtp_admin/messages/show.html",
        message=message,
        explanation=explain(message, around),
        unsent=unsent,
        around=around,
        connection=around.connection_of(message),
        max_attempts=max_attempts(message, around),
        recipients=recipients,
        attempts=attempts[:MOST_ATTEMPTS],
        put_back=put_back,
        flight=flight,
        flight_is_put_back=flight is not None and tries.is_put_back(flight, attempts, put_back),
        earlier=earlier.get(message.id, 0),
        more_attempts=len(attempts) > MOST_ATTEMPTS,
        acts=ACTS,
        dialogue=dialogue,
        explain_attempt=explain_attempt,
        explain_flight=explain_flight,
    )


def _find(session: Session, number: int) -> Message:
    message = session.get(Message, number)
    if message is None:
        abort(404, f"There is no message {number}. It may have been removed after its time.")
    return message


def dialogue(text: str | None) -> list[DialogueLine]:
    """Return the lines of a stored dialogue: milliseconds, ``C``, ``S`` or ``*``, text."""
    lines = []
    for line in (text or "").splitlines():
        milliseconds, _, rest = line.partition("\t")
        who, _, said = rest.partition("\t")
        lines.append(DialogueLine(milliseconds, SPEAKERS.get(who, "note"), said))
    return lines


def messages_act(number: int) -> Response:
    """Act on one message."""
    form = ActForm()
    act = form.read()
    with core().database.session() as session:
        _find(session, number)
    if form.lacks_target:
        flash("Nothing was moved: choose the connection that is to carry the message.", "warning")
        return see_other("messages_show", number=number)
    try:
        changed = acts.perform(core(), act, [Message.id == number], form.to.data)
    except UnknownConnection as error:
        flash(str(error), "error")
    else:
        idle = act.name == "move" and acts.is_idle(core(), form.to.data)
        category, sentence = acts.outcome(act, changed, None, idle=idle)
        flash(sentence.replace("1 message", "The message"), category)
    return see_other("messages_show", number=number)


def messages_delete(number: int) -> str:
    """Ask before the message is deleted."""
    with core().database.session() as session:
        message = _find(session, number)
    return render_template("smtp_admin/messages/delete.html", message=message)
