"""The Flask-Mail face of the outbox.

Owns taking Flask-Mail's messages, the ``Mail`` class for new code, and capturing the mail of an
application that has a plain ``flask_mail.Mail``. Must not know how a message is delivered.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import weakref
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime, timezone
from email.message import Message as StandardMessage
from typing import Any

import flask_mail
from flask import Flask, current_app

from .core import EXTENSION_KEY, State
from .database import explained
from .errors import ConfigurationError, MessageError, NotInitializedError
from .outbox import OutboxMessage, SendOptions, enqueue, enqueue_many
from .routing import first_sender
from .smtp import Address, Draft, FrozenMessage, Part, freeze

logger = logging.getLogger(__name__)

LONGEST_SUBJECT = 60
"""Letters of a subject that an error shows."""


def submit(
    state: State,
    message: flask_mail.Message | StandardMessage,
    options: SendOptions,
    envelope_from: str | tuple[str, str] | None = None,
) -> OutboxMessage:
    """Freeze a message and put it into the outbox; see ``SMTPAdmin.send``.

    :param envelope_from: the MAIL FROM address where it is not the sender's.
    :raises MessageError: it cannot be sent as it is; nothing was stored.
    """
    return enqueue(state.core, _freeze(state, message, state.core.now(), envelope_from), options)


def submit_many(
    state: State,
    messages: Iterable[flask_mail.Message | StandardMessage],
    options: SendOptions,
) -> list[OutboxMessage]:
    """Freeze messages and put them into the outbox together; see ``SMTPAdmin.send_many``.

    :raises MessageError: one of them cannot be sent as it is, and its words say which; nothing was
        stored.
    """
    now = state.core.now()
    frozen = []
    for number, message in enumerate(messages, start=1):
        try:
            frozen.append(_freeze(state, message, now))
        except MessageError as error:
            subject = "" if options.sensitive else _subject_of(message)
            which = f"Message {number} of send_many{subject}"
            raise type(error)(f"{which}: {error}") from error
    return enqueue_many(state.core, frozen, options) if frozen else []


def _subject_of(message: flask_mail.Message | StandardMessage) -> str:
    """Return the subject in brackets, as far as there is one to tell messages apart by."""
    if isinstance(message, StandardMessage):
        subject = message.get("Subject")
    else:
        subject = getattr(message, "subject", None)
    if not subject:
        return ""
    words = str(subject)
    shown = words if len(words) <= LONGEST_SUBJECT else f"{words[:LONGEST_SUBJECT]}…"
    return f" (subject {shown!r})"


def _freeze(
    state: State,
    message: flask_mail.Message | StandardMessage,
    now: datetime,
    envelope_from: str | tuple[str, str] | None = None,
) -> FrozenMessage:
    core = state.core
    source: Draft | StandardMessage
    if isinstance(message, flask_mail.Message):
        source = draft_of(message, envelope_from)
    elif isinstance(message, StandardMessage):
        source = message
    else:
        raise MessageError(
            "A message has to be a flask_mail.Message or an email.message.EmailMessage, not "
            f"{type(message).__name__}."
        )
    return freeze(
        source,
        now=now,
        max_bytes=core.config.max_message_bytes,
        default_sender=_default_sender(state, source),
    )


def _default_sender(state: State, source: Draft | StandardMessage) -> Address | None:
    """Return the sender for a message that names none.

    It is ``MAIL_DEFAULT_SENDER``, or else the first enabled connection's.
    """
    named = source.sender if isinstance(source, Draft) else source.get("From")
    if named:
        return None
    configured: Address | None = current_app.config.get("MAIL_DEFAULT_SENDER")
    if configured:
        return configured
    database = state.core.database
    joined = database.joined()
    if joined is not None:
        # A second connection would wait for the caller's own transaction where that has a lock.
        with explained():
            return first_sender(joined)
    with database.read() as connection:
        return first_sender(connection)


def draft_of(
    message: flask_mail.Message, envelope_from: str | tuple[str, str] | None = None
) -> Draft:
    """Return what a Flask-Mail message says, in our own terms.

    The order of the recipients is kept, which Flask-Mail's own bytes shuffle.
    """
    headers = {str(k): str(v) for k, v in (message.extra_headers or {}).items()}
    return Draft(
        # Flask-Mail allows a subject that is folded already.
        subject=_FOLD.sub(" ", str(message.subject or "")),
        sender=_sender(message.sender),
        to=tuple(message.recipients),
        cc=tuple(message.cc),
        bcc=tuple(message.bcc),
        reply_to=message.reply_to,
        text=_text(message.body),
        html=_text(message.html),
        alternatives=tuple(
            (f"text/{subtype}" if "/" not in subtype else subtype, _text(content))
            for subtype, content in message.alts.items()
            if subtype != "html"
        ),
        attachments=tuple(_part(attachment) for attachment in message.attachments),
        headers=headers,
        date=_date(message.date),
        message_id=_message_id(message.msgId),
        envelope_from=_bare(envelope_from),
    )


def _text(value: Any) -> Any:
    """Return a text that is made late, a translation for instance, as it reads now.

    Only what has words of its own for itself: the bytes and the list that somebody passed by
    mistake are refused later, not written into the message.
    """
    kind: Any = type(value)
    late = kind.__str__ is not object.__str__
    return str(value) if late and not isinstance(value, (bytes, bytearray)) else value


_FOLD = re.compile(r"\r\n[ \t]+(?=\S)")
_NAMED = re.compile(r"(.+) <([^<>\s]+)>", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SEVERAL = re.compile(r"[^\s@,]@[^\s@,]+\s*,")
"""What a list of addresses has before the last of them; it is no name, and refused as a sender."""


def _sender(sender: str | tuple[str, str] | None) -> Address | None:
    """Return the sender, with a name that Flask-Mail joined to it as it is.

    It writes the pair ``("Shop, Inc.", "a@b")`` as ``Shop, Inc. <a@b>``, without the quotes that a
    comma, an ``@`` or a quote needs in a list of addresses.
    """
    if not sender:
        return None
    found = _NAMED.fullmatch(sender) if isinstance(sender, str) else None
    if found is None or _QUOTED.fullmatch(found[1]) or _SEVERAL.search(found[1]):
        return sender
    return found[1], found[2]


def _message_id(given: str | None) -> str | None:
    """Return the Message-ID that the message has, unless it is of no use outside this machine.

    Flask-Mail's own ends in this machine's name, which is often ``localhost``: filters take that
    for spam. ``None`` has one made from the sender's domain.
    """
    domain = (given or "").rstrip(">").rpartition("@")[2]
    return given if "." in domain else None


def _date(date: float | None) -> datetime | None:
    return None if date is None else datetime.fromtimestamp(date, timezone.utc)


def _bare(address: str | tuple[str, str] | None) -> str | None:
    return address[1] if isinstance(address, tuple) else address


def _part(attachment: flask_mail.Attachment) -> Part:
    headers = dict(attachment.headers)
    content_id = next((headers.pop(k) for k in list(headers) if k.lower() == "content-id"), None)
    data = attachment.data
    return Part(
        filename=_file_name(attachment.filename),
        content_type=attachment.content_type,
        data=data.encode("utf-8") if isinstance(data, str) else bytes(data),
        disposition=attachment.disposition,
        content_id=content_id,
        headers=headers,
    )


def _file_name(name: str | None) -> str | None:
    """Return the file name, in ASCII where ``MAIL_ASCII_ATTACHMENTS`` asks for it."""
    if name is None or not current_app.config.get("MAIL_ASCII_ATTACHMENTS"):
        return name
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return " ".join(ascii_name.split())


# --- for new code --------------------------------------------------------------------------------


class Mail(flask_mail.Mail):
    """A ``flask_mail.Mail`` whose messages go to the outbox.

    ``send``, ``send_message``, ``connect()``, ``record_messages()``, the ``email_dispatched``
    signal and ``MAIL_SUPPRESS_SEND`` behave as they do there.
    """

    def connect(self) -> OutboxConnection:
        """Return a connection for several messages; nothing is contacted by it.

        :raises RuntimeError: the application has no ``Mail``.
        """
        app = getattr(self, "app", None) or current_app
        try:
            return OutboxConnection(app.extensions["mail"])
        except KeyError as error:
            raise RuntimeError(
                "This application has no Mail; write Mail(app) or call mail.init_app(app)."
            ) from error


class OutboxConnection(flask_mail.Connection):
    """What ``Mail.connect()`` returns: its ``send`` puts into the outbox."""

    def __enter__(self) -> OutboxConnection:
        self.host = None
        self.num_emails = 0
        return self

    def send(
        self,
        message: flask_mail.Message,
        envelope_from: str | tuple[str, str] | None = None,
    ) -> None:
        """Put the message into the outbox.

        :raises AssertionError: no recipients or no sender, as in Flask-Mail.
        :raises flask_mail.BadHeaderError: a header holds a line break, as in Flask-Mail.
        :raises MessageError: it cannot be sent for another reason.
        """
        if not _is_suppressed(self.mail):
            _check_as_flask_mail_does(message)
            submit(current_state(), message, SendOptions(), envelope_from)
        taken = _taken.set(message)
        try:
            # Without a host it checks, sets the date and sends the signal, no more.
            super().send(message, envelope_from)
        finally:
            _taken.reset(taken)


def _check_as_flask_mail_does(message: flask_mail.Message) -> None:
    if not message.send_to:
        raise AssertionError("No recipients have been added")
    if not message.sender:
        raise AssertionError("The message has no sender, and MAIL_DEFAULT_SENDER is not set")
    if message.has_bad_headers():
        raise flask_mail.BadHeaderError


def current_state() -> State:
    """Return the state of the current application.

    :raises NotInitializedError: it has no ``SMTPAdmin``.
    """
    state: State | None = current_app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise NotInitializedError(
            "This application has no SMTPAdmin; write SMTPAdmin(app) or call init_app(app)."
        )
    return state


_taken: ContextVar[flask_mail.Message | None] = ContextVar("smtp_admin_taken", default=None)
"""The message that is in the outbox already when the signal speaks of it."""


# --- for what is there already -------------------------------------------------------------------


class CapturedMail(flask_mail._Mail):  # noqa: SLF001  (what app.extensions holds has no other name)
    """The Flask-Mail state of an application whose messages are captured.

    It seems to be suppressed, so that Flask-Mail opens no SMTP connection; the signal that it
    sends nevertheless brings the message here.
    """

    _original: flask_mail._Mail

    def __init__(self, original: flask_mail._Mail) -> None:
        # ``Mail.state`` is the original: whatever is changed there has to count here.
        self.__dict__["_original"] = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._original, name, value)

    @property
    def suppress(self) -> bool:
        """What Flask-Mail asks before it connects."""
        return True

    @suppress.setter
    def suppress(self, value: bool) -> None:
        self._original.suppress = value


def _is_suppressed(state: Any) -> bool:
    """Tell whether ``MAIL_SUPPRESS_SEND`` keeps messages back.

    Not while a test captures: then nothing leaves anyhow, and the test wants to see them.
    """
    admin: State | None = current_app.extensions.get(EXTENSION_KEY)
    if admin is not None and admin.core.trial.outboxes:
        return False
    original = state._original if isinstance(state, CapturedMail) else state  # noqa: SLF001
    return bool(original.suppress)


def capture(app: Flask) -> None:
    """Lead the messages of the application's Flask-Mail into the outbox.

    An application without one gets the state that ``flask_mail.Message`` needs to find its
    default sender. Doing it again changes nothing.

    :raises ConfigurationError: another extension has taken the name ``mail``.
    """
    state = app.extensions.get("mail")
    if isinstance(state, CapturedMail):
        return
    if state is None:
        state = flask_mail.Mail().init_mail(app.config, app.debug, app.testing)
    if not isinstance(state, flask_mail._Mail):  # noqa: SLF001
        raise ConfigurationError(
            f"app.extensions['mail'] is a {type(state).__name__}, not Flask-Mail's, so what is sent "
            "with it does not go through the outbox. Set SMTP_ADMIN_CAPTURE_FLASK_MAIL = False to "
            "leave it alone."
        )
    app.extensions["mail"] = CapturedMail(state)


def _on_dispatched(app: Flask, message: flask_mail.Message) -> None:
    """Take a message that Flask-Mail believes to have sent."""
    if _taken.get() is message:
        return
    mail_state = app.extensions.get("mail")
    if not isinstance(mail_state, CapturedMail):
        _warn_of_bypass(app, mail_state)
    elif not _is_suppressed(mail_state):
        submit(current_state(), message, SendOptions())


_warned: weakref.WeakSet[Flask] = weakref.WeakSet()


def _warn_of_bypass(app: Flask, mail_state: object) -> None:
    """Log once that Flask-Mail sent a message itself although the outbox was to have it.

    Capturing it from here on could send twice what follows over the same open connection.
    """
    admin: State | None = app.extensions.get(EXTENSION_KEY)
    if admin is None or not admin.core.config.capture_flask_mail or app in _warned:
        return
    if isinstance(mail_state, flask_mail._Mail) and not _is_suppressed(mail_state):  # noqa: SLF001
        _warned.add(app)
        logger.warning(
            "A message went past the outbox: Mail(app) was called inside an application context "
            "that was open already, so the outbox learns of it with the next context or request. "
            "Call Mail(app) before that, or before SMTPAdmin(app)."
        )


flask_mail.email_dispatched.connect(_on_dispatched, weak=False)
