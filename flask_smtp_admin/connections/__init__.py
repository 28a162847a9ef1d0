"""Connections: their rules, their changes, their health in words, and trying them.

Owns everything about a connection that is neither delivery nor a page. Must not know Flask.
"""

from __future__ import annotations

from .breaker import Began, event_of, note_success
from .defaults import from_mail_settings
from .drivers import DRIVERS, Deliver, register, session_for
from .health import (
    HealthWords,
    after_disabling,
    describe,
    password_trouble,
    password_unreadable,
    stored_password,
    waiting_counts,
)
from .passwords import STRICT_RULES
from .presets import BY_KEY, PRESETS, Preset
from .rules import DEFAULTS, FIELDS, SECRET_FIELDS, Checked, check
from .trial import endpoint_of, record, run, transient, trial_endpoint
from .writes import (
    ORDER,
    clone,
    create,
    delete,
    disable,
    enable,
    ensure_first,
    move,
    objection_to_deleting,
    reset_health,
    update,
)

__all__ = [
    "BY_KEY",
    "DEFAULTS",
    "DRIVERS",
    "FIELDS",
    "ORDER",
    "PRESETS",
    "SECRET_FIELDS",
    "STRICT_RULES",
    "Began",
    "Checked",
    "Deliver",
    "HealthWords",
    "Preset",
    "after_disabling",
    "check",
    "clone",
    "create",
    "delete",
    "describe",
    "disable",
    "enable",
    "endpoint_of",
    "ensure_first",
    "event_of",
    "from_mail_settings",
    "move",
    "note_success",
    "objection_to_deleting",
    "password_trouble",
    "password_unreadable",
    "record",
    "register",
    "reset_health",
    "run",
    "session_for",
    "stored_password",
    "transient",
    "trial_endpoint",
    "update",
    "waiting_counts",
]
