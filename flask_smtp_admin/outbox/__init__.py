"""Every write that the host or a person makes to a message.

Owns enqueueing and the acts of an administrator. Must not know Flask, nor how messages are
delivered; what a worker writes is in :mod:`flask_smtp_admin.delivery`.
"""

from __future__ import annotations

from .acts import delete, hold, move_to, release, retry
from .options import SendOptions
from .storing import OutboxMessage, enqueue, enqueue_many, read_body

__all__ = [
    "OutboxMessage",
    "SendOptions",
    "delete",
    "enqueue",
    "enqueue_many",
    "hold",
    "move_to",
    "read_body",
    "release",
    "retry",
]
