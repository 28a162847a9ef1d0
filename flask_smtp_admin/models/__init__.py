"""The tables and the rules that hold within one row.

Owns names, columns, indexes and the table of states. Must not know who reads or writes them.
"""

from __future__ import annotations

from .attempt import Attempt, AttemptStatus
from .base import Base
from .connection import AuthMechanism, BreakerState, Connection, ConnectionHealth, Encryption
from .flight import Flight, is_being_sent
from .hold import SessionHold
from .message import (
    Message,
    MessageBody,
    Priority,
    Recipient,
    RecipientKind,
    RecipientStatus,
    is_queued,
)
from .states import FINAL, TRANSITIONS, UNSENT, Status
from .worker import Worker

__all__ = [
    "FINAL",
    "TRANSITIONS",
    "UNSENT",
    "Attempt",
    "AttemptStatus",
    "AuthMechanism",
    "Base",
    "BreakerState",
    "Connection",
    "ConnectionHealth",
    "Encryption",
    "Flight",
    "Message",
    "MessageBody",
    "Priority",
    "Recipient",
    "RecipientKind",
    "RecipientStatus",
    "SessionHold",
    "Status",
    "Worker",
    "is_being_sent",
    "is_queued",
]
