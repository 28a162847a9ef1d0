"""SMTP and MIME: the protocol, a probe of a server, and the freezing of a message.

Knows neither database nor Flask. What is named here is what the rest of the package may use.
"""

from __future__ import annotations

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
from flask_smtp_admin.smtp.probe import ProbeReport, Step, probe
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
    "probe",
    "read_address",
]
