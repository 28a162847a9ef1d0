"""The signals that host code may connect to, one a fact.

Owns the signals and the record they carry. Must not know who sends them, nor what a receiver does.

Every signal is sent inside the application context, with the Flask application as its sender and
one keyword argument ``event``, an :class:`Event`::

    from flask_smtp_admin import signals

    @signals.final_delivery_failed.connect
    def on_failure(app, event):
        app.logger.error("%s never got %r: %s", event.recipient, event.subject, event.reply)

They are sent where the fact happens, which is mostly a worker process, and after the fact has been
stored. A receiver that raises is logged and harms nothing.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from blinker import NamedSignal, Namespace

logger = logging.getLogger(__name__)

_namespace = Namespace()


@dataclass(frozen=True)
class Event:
    """One fact about a message or a connection. What does not apply to it is ``None``.

    ``connection`` is the connection's caption; ``ssl`` tells whether the session was encrypted
    from the first byte or by STARTTLS. ``attempt`` counts from 1 and is 0 where none has been made yet, in
    ``message_queued``. Times are aware and in UTC.
    """

    code: str
    """The signal's name, ``"delivery_failed"`` for instance."""
    occurred_at: datetime
    message_id: int | None = None
    """The number of the message in the outbox."""
    recipient: str | None = None
    """The recipient it is about; with several, the first, and one signal each where outcomes differ."""
    sender: str | None = None
    subject: str | None = None
    connection: str | None = None
    host: str | None = None
    port: int | None = None
    ssl: bool | None = None
    requires_auth: bool | None = None
    stage: str | None = None
    """Where in the SMTP dialogue it happened: ``"connect"``, ``"auth"``, ``"rcpt"`` and so on."""
    smtp_code: int | None = None
    enhanced_code: str | None = None
    """The enhanced status code of RFC 3463, ``"4.7.1"`` for instance."""
    reply: str | None = None
    """The server's words, or ours where there was no server to speak."""
    attempt: int | None = None
    max_attempts: int | None = None
    next_attempt_at: datetime | None = None
    """When the next try is due. ``None`` while ``final`` is false: the message is held, waits for its
    connection, or was taken back from a worker that is gone."""
    final: bool = False
    """Whether this is the end of it: nothing more will be tried."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary, times as ISO 8601 text, fit for JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


message_queued = _namespace.signal(
    "message_queued",
    doc="A message was committed to the outbox. Sent in the process that called ``send``.",
)
message_sent = _namespace.signal(
    "message_sent",
    doc="The server accepted a message, for at least one recipient.",
)
delivery_failed = _namespace.signal(
    "delivery_failed",
    doc="An attempt failed. ``next_attempt_at`` tells when another follows, ``final`` that none does.",
)
final_delivery_failed = _namespace.signal(
    "final_delivery_failed",
    doc="A recipient was given up: refused for good, attempts used up, or expired.",
)
connection_failed = _namespace.signal(
    "connection_failed",
    doc="A connection was found broken, or its server asked for a pause (quota): its messages wait and "
    "spend no attempts. Not sent for a limit of the connection's own.",
)
connection_recovered = _namespace.signal(
    "connection_recovered",
    doc="A connection that had failed carries messages again.",
)

BY_CODE: dict[str, NamedSignal] = {
    signal.name: signal
    for signal in (
        message_queued,
        message_sent,
        delivery_failed,
        final_delivery_failed,
        connection_failed,
        connection_recovered,
    )
}


def is_heard(code: str) -> bool:
    """Tell whether anybody, for whatever application, listens to the signal of this code."""
    return bool(BY_CODE[code].receivers)


def publish(app: object, event: Event) -> None:
    """Send ``event`` to the receivers of its signal, one after the other.

    :param app: the sender, a Flask application.
    :raises KeyError: no signal has the event's code; a receiver's exception is logged instead.
    """
    signal = BY_CODE[event.code]
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, event=event)
        except (Exception, SystemExit):
            # Host code must not be able to stop delivery, whatever it does; sys.exit() included,
            # which would end the thread that has the messages of all connections in hand.
            logger.exception("A receiver of the signal %s raised an exception.", event.code)
