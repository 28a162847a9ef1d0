"""SMTP and MIME: the protocol, a probe of a server, and the freezing of a message.

Knows neither database nor Flask. What is named here is what the rest of the package may use; with
:func:`~flask_smtp_admin.smtp.probe.probe`, whose module has its name. A module is imported when
something of it is asked for: most processes of an application store messages and talk to no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_smtp_admin.smtp.dialogue import Line
    from flask_smtp_admin.smtp.failure import Failure, judge_failure
    from flask_smtp_admin.smtp.judging import judge
    from flask_smtp_admin.smtp.mailaddress import Address, MailAddress, read_address
    from flask_smtp_admin.smtp.mime import (
        Draft,
        FrozenMessage,
        FrozenRecipient,
        Part,
        freeze,
    )
    from flask_smtp_admin.smtp.probe import ProbeReport, Step
    from flask_smtp_admin.smtp.reply import Outcome, Reply, Scope, Stage, Verdict
    from flask_smtp_admin.smtp.session import Session
    from flask_smtp_admin.smtp.settings import AUTH_MECHANISMS, ENCRYPTIONS, Endpoint
    from flask_smtp_admin.smtp.tls import TlsFacts
    from flask_smtp_admin.smtp.transaction import (
        Envelope,
        RecipientResult,
        SessionError,
        Transaction,
    )
    from flask_smtp_admin.smtp.waiting import (
        BLOCKING,
        READABLE,
        WRITABLE,
        Poller,
        Waiter,
        make_poller,
        milliseconds,
    )
else:
    _NAMES = {
        "dialogue": ("Line",),
        "failure": ("Failure", "judge_failure"),
        "judging": ("judge",),
        "mailaddress": ("Address", "MailAddress", "read_address"),
        "mime": ("Draft", "FrozenMessage", "FrozenRecipient", "Part", "freeze"),
        "probe": ("ProbeReport", "Step"),
        "reply": ("Outcome", "Reply", "Scope", "Stage", "Verdict"),
        "session": ("Session",),
        "settings": ("AUTH_MECHANISMS", "ENCRYPTIONS", "Endpoint"),
        "tls": ("TlsFacts",),
        "transaction": ("Envelope", "RecipientResult", "SessionError", "Transaction"),
        "waiting": (
            "BLOCKING",
            "Poller",
            "READABLE",
            "WRITABLE",
            "Waiter",
            "make_poller",
            "milliseconds",
        ),
    }
    _HOMES = {name: module for module, names in _NAMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


__all__ = [
    "AUTH_MECHANISMS",
    "BLOCKING",
    "ENCRYPTIONS",
    "READABLE",
    "WRITABLE",
    "Address",
    "Draft",
    "Endpoint",
    "Envelope",
    "Failure",
    "FrozenMessage",
    "FrozenRecipient",
    "Line",
    "MailAddress",
    "Outcome",
    "Part",
    "Poller",
    "ProbeReport",
    "RecipientResult",
    "Reply",
    "Scope",
    "Session",
    "SessionError",
    "Stage",
    "Step",
    "TlsFacts",
    "Transaction",
    "Verdict",
    "Waiter",
    "freeze",
    "judge",
    "judge_failure",
    "make_poller",
    "milliseconds",
    "read_address",
]
