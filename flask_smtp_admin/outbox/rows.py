"""What a new message is in the tables: its row, those of its recipients, the parts of its bytes.

Owns the values of these rows, as every driver takes them but for times. Must not know how they get into the database.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from ..bulk import Row
from ..core import Core
from ..models import Priority
from ..models.message import BODY_PART_BYTES, SUBJECT_LENGTH
from ..smtp import FrozenMessage
from .options import SendOptions

SUBJECT_KEY_LENGTH = 100
FROM_HEADER_LENGTH = 500


class New(NamedTuple):
    """A message that is to be stored, and the columns of its row that are its own.

    ``connection_id`` among them is the one that the caller chose; where it is ``None``, whoever
    stores the message finds out which one carries it.
    """

    message: FrozenMessage
    row: dict[str, Any]


def new(core: Core, message: FrozenMessage, options: SendOptions, now: datetime) -> New:
    """Return a message with the columns of its row.

    :raises MessageError: the options are impossible together.
    """
    automated = message.automated if options.automated is None else options.automated
    row = {
        "automated": automated,
        "due_at": options.due_at(now, automated, core.config.automated_delay),
        "message_id": message.message_id,
        "idempotency_key": options.idempotency_key,
        "connection_id": None,
        "pinned": options.connection is not None,
        "sender": message.sender,
        "from_header": message.from_header[:FROM_HEADER_LENGTH],
        "subject": message.subject[:SUBJECT_LENGTH],
        "subject_key": subject_key(message.subject),
        "first_recipient": message.recipients[0].address.lower(),
        "recipient_count": len(message.recipients),
        "size": message.size,
        "smtputf8": message.smtputf8,
        "eight_bit": message.eight_bit,
        "sensitive": options.sensitive,
        "at_most_once": options.at_most_once,
        "max_attempts": options.max_attempts,
        "priority": Priority.BY_NAME[options.priority],
        "expires_at": options.expires_at,
        "created_at": now,
    }
    return New(message, row)


def subject_key(subject: str) -> str:
    """Return what the search compares a subject with: its start, case-folded."""
    return subject.casefold()[:SUBJECT_KEY_LENGTH]


def recipients(number: int, message: FrozenMessage) -> list[Row]:
    """Return the rows of the recipients of the message with this number, but for their status."""
    return [
        {
            "message_id": number,
            "address": recipient.address,
            "address_key": recipient.address.lower(),
            "kind": recipient.kind,
        }
        for recipient in message.recipients
    ]


def bodies(number: int, message: FrozenMessage) -> list[Row]:
    """Return the rows of the bytes of the message with this number."""
    return [
        {
            "message_id": number,
            "part": part,
            "content": message.content[start : start + BODY_PART_BYTES],
        }
        for part, start in enumerate(range(0, message.size, BODY_PART_BYTES))
    ]
