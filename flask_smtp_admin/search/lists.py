"""The words that the queue and the log have.

Owns the vocabulary of each list, with the help's line on every word.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin.models import Attempt, AttemptStatus, Flight, Message, Status
from flask_smtp_admin.models.attempt import is_refusal
from flask_smtp_admin.paging import Listed

from . import conditions
from .language import Language, Word

LONGEST_ATTEMPT = timedelta(minutes=15)
"""A server may take ten minutes for its last reply alone, unless a connection says otherwise."""


def _words(model: Any) -> dict[str, Word]:
    """The words that both lists have, over the columns of one."""
    queue = model is Message
    code = conditions.code(Message.last_code, Message.last_enhanced)
    reason = conditions.reason(Message.reason)
    if not queue:
        code = conditions.code(Attempt.smtp_code, Attempt.enhanced_code, is_refusal=is_refusal())
        reason = conditions.contains(sa.func.lower(Attempt.reason))
    if model is Flight:  # nothing has been said of it yet
        code, reason = conditions.never(code), conditions.never(reason)
    made = "were made" if queue else "began"
    return {
        "to": Word(
            "to:ann@example.org",
            "a recipient begins so; to:*@example.org for a whole domain",
            conditions.to(model),
        ),
        "from": Word(
            "from:shop@", "the sender's address begins so", conditions.sender(model.sender)
        ),
        "subject": Word(
            'subject:"your order"',
            "the subject begins so; subject:*order* if it is anywhere in it",
            conditions.begins(model.subject_key, conditions.subject_key),
        ),
        "connection": Word(
            "connection:Main",
            "carried by this connection, named by its caption or number",
            conditions.connection(model.connection_id),
        ),
        "before": Word(
            "before:2026-11-01", f"{made} before this day, time or age", conditions.before
        ),
        "after": Word("after:3d", f"{made} since this day, time or age", conditions.after),
        "code": Word(
            "code:451",
            "the server's last reply; also code:4xx and code:4.7.1",
            code,
        ),
        "reason": Word(
            "reason:greylist",
            "the reason has this in it",
            reason,
        ),
        "id": Word(
            "id:1204",
            "the message with this number",
            conditions.number(Message.id if queue else model.message_id),
        ),
        "text": Word(
            "order",
            "a word without a key: the subject has it in it, or with an @ the recipient begins so",
            conditions.contains(model.subject_key, conditions.subject_key),
        ),
    }


MESSAGES = Language(
    table=Listed(Message.id, Message.created_at),
    words=_words(Message),
    statuses={
        "waiting": (Status.QUEUED,),
        "sending": (Status.SENDING,),
        "held": (Status.HELD,),
        "failed": (Status.FAILED,),
        "partial": (Status.PARTIAL,),
        "sent": (Status.SENT,),
        "deleted": (Status.DELETED,),
        "unsent": (Status.QUEUED, Status.SENDING, Status.HELD, Status.FAILED, Status.PARTIAL),
    },
    # The name that the database, the signals and the docs have for it.
    synonyms={"queued": "waiting"},
)

ATTEMPTS = Language(
    # Numbered when they have ended.
    table=Listed(Attempt.id, Attempt.started_at, Attempt.finished_at, LONGEST_ATTEMPT),
    words=_words(Attempt),
    statuses={
        "success": (AttemptStatus.SUCCESS,),
        "fail": (AttemptStatus.FAIL,),
        "in progress": (AttemptStatus.IN_PROGRESS,),
    },
)

FLIGHTS = replace(
    ATTEMPTS, table=Listed(Flight.message_id, Flight.started_at), words=_words(Flight)
)
"""The same for attempts that are in progress."""
