"""``SMTPAdmin``: what a Flask developer writes one line of.

Owns the wiring: reading the configuration, finding the database, choosing the dispatcher,
registering pages and commands, each a named step of ``init_app``. Must not know how a message is
stored or delivered.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.message import Message as StandardMessage
from typing import TYPE_CHECKING, Any, TypeVar

import flask_mail
import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy

from . import cli, mail, signals, web
from .config import Config
from .core import EXTENSION_KEY, Core, State
from .crypto import KeyRing
from .dispatch import Bells, resolve
from .errors import ConfigurationError, NotInitializedError
from .late import importing
from .outbox import OutboxMessage, SendOptions
from .placement import Placement, inside
from .settling import Settling
from .smtp import FrozenMessage, Reply

if TYPE_CHECKING:
    from . import connections

logger = logging.getLogger(__name__)

DeliverT = TypeVar("DeliverT", bound="connections.Deliver")
AuthorizeT = TypeVar("AuthorizeT", bound=Callable[[str], object])


class SMTPAdmin:
    """The mail administration of a Flask application.

    ``SMTPAdmin(app)`` is enough: it registers the pages under ``/smtp-admin``, the command group
    ``flask smtp-admin`` and the outbox. In an application factory make the object first and call
    :meth:`init_app` later; one object serves several applications.

    :param db: the Flask-SQLAlchemy object whose database holds the outbox. Default: the one that
        the application has, or an SQLite file in the instance folder when it has none.
    :param authorize: answers whether the current user may do an action; see :meth:`authorize`.
    :param url_prefix: where the pages are mounted.
    :raises ConfigurationError: an ``SMTP_ADMIN_*`` key is unknown or wrong, or the application
        was initialised before.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        db: SQLAlchemy | None = None,
        authorize: Callable[[str], object] | None = None,
        url_prefix: str = "/smtp-admin",
    ) -> None:
        self._db = db
        self._authorize = authorize
        self._url_prefix = url_prefix
        # An application may be dropped, those of a test suite are by the hundred.
        self._states: weakref.WeakSet[State] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give ``app`` its outbox, its pages and its commands.

        :raises ConfigurationError: a key is unknown or wrong; ``app`` has the extension already.
        """
        if EXTENSION_KEY in app.extensions:
            raise ConfigurationError(
                "This application has SMTPAdmin already; call init_app (or SMTPAdmin(app)) once."
            )
        config = Config.from_mapping(app.config)
        placement = Placement(app, config, self._db)
        state, bells = self._make_state(app, config, placement)
        app.extensions[EXTENSION_KEY] = state
        self._states.add(state)

        def first_use(link: sa.Connection | None) -> None:
            with importing():  # not before they are needed, as the pages
                from . import connections  # noqa: PLC0415

            connections.ensure_first(state.core, app.config, within=link)

        placement.on_first_use(first_use)
        app.register_blueprint(web.blueprint, url_prefix=self._url_prefix)
        app.cli.add_command(cli.smtp_admin_cli)
        placement.settle()
        if config.capture_flask_mail and "mail" in app.extensions:
            mail.capture(app)
        _settle_later(state, app, placement, bells.open)

    def _make_state(self, app: Flask, config: Config, placement: Placement) -> tuple[State, Bells]:
        def publish(event: signals.Event) -> None:
            if not signals.is_heard(event.code):
                return  # an application's context is not free
            with inside(app):
                signals.publish(app, event)

        def find_dispatch() -> str:
            return resolve(config, testing=app.testing, in_memory=placement.in_memory)

        bells = Bells(app, lambda: core, find_dispatch)
        core = Core(
            config=config,
            database=placement.database,
            keys=_key_ring(app, config),
            publish=publish,
            ring=bells.ring,
            after_commit=placement.after_commit,
            hears=signals.is_heard,
        )
        state = State(
            core=core,
            authorize=self._authorize,
            find_dispatch=find_dispatch,
            url_prefix=self._url_prefix,
        )
        return state, bells

    def authorize(self, function: AuthorizeT) -> AuthorizeT:
        """Register the function that says who may do what; use it as a decorator.

        It is called inside the request with an action: ``"view"``, ``"read_body"``,
        ``"operate"``, ``"configure"``, ``"test"``, ``"export"``, ``"erase"`` or ``"audit"``.
        Only the return value ``True`` allows it. Without a function every page answers 403.
        """
        self._authorize = function
        for state in list(self._states):
            state.authorize = function
        return function

    def send(
        self,
        message: flask_mail.Message | StandardMessage,
        *,
        connection: str | int | None = None,
        priority: str = "normal",
        delay: timedelta | float | None = None,
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        automated: bool | None = None,
        sensitive: bool = False,
        at_most_once: bool = False,
        max_attempts: int | None = None,
        idempotency_key: str | None = None,
    ) -> OutboxMessage:
        """Put a message into the outbox, from where it is delivered.

        If ``db.session`` holds uncommitted writes, the message is part of that transaction: it is
        sent if that commits and never existed if it rolls back. Otherwise it is stored at once and
        durable when this returns.

        :param message: a ``flask_mail.Message`` or an ``email.message.EmailMessage``. It is frozen
            now: Message-ID, Date and bytes are the same for every attempt.
        :param connection: caption or number of the connection that must carry it. Default: chosen
            by sender pattern and order.
        :param priority: ``"high"``, ``"normal"`` or ``"low"``.
        :param delay: wait so long before the first try; seconds, or a ``timedelta``.
        :param send_at: first try at this aware time, which is at most a hundred years ahead.
        :param expires_at: give up at this aware time, which is at most a hundred years ahead.
        :param automated: whether it is automated mail, which waits ``SMTP_ADMIN_AUTOMATED_DELAY``
            seconds. Default: what its ``Auto-Submitted`` header says (RFC 3834).
        :param sensitive: its body is removed as soon as the message is final.
        :param at_most_once: hold it, instead of sending it again, when a worker dies or the link
            breaks in the one moment in which it cannot be known whether the server took it.
        :param max_attempts: tries until it is given up, 1 to 100. Default: as many as the connection
            has, or else ``SMTP_ADMIN_MAX_ATTEMPTS``.
        :param idempotency_key: 1 to 200 characters; a second ``send`` with the same key returns
            the first message and stores nothing.
        :raises MessageError: the message has no recipients or no sender, a bad header or address,
            is too large, or the options are impossible. Nothing is stored.
        :raises UnknownConnection: ``connection`` names none.
        :raises NotInitializedError: outside an application context, or the application has no
            ``SMTPAdmin``.
        :raises OutboxUnavailable: the database cannot store it.
        """
        state = self._state()
        options = SendOptions(
            connection=connection,
            priority=priority,
            delay=delay,
            send_at=send_at,
            expires_at=expires_at,
            automated=automated,
            sensitive=sensitive,
            at_most_once=at_most_once,
            max_attempts=max_attempts,
            idempotency_key=idempotency_key,
        )
        return mail.submit(state, message, options)

    def send_many(
        self,
        messages: Iterable[flask_mail.Message | StandardMessage],
        *,
        connection: str | int | None = None,
        priority: str = "normal",
        delay: timedelta | float | None = None,
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        automated: bool | None = None,
        sensitive: bool = False,
        at_most_once: bool = False,
        max_attempts: int | None = None,
    ) -> list[OutboxMessage]:
        """Put messages into the outbox in one transaction: all of them, or none.

        For a newsletter, whose copies differ: it costs a fraction of as many calls of
        :meth:`send`, whose options it takes, but for the key against doubles. All messages are
        held in memory meanwhile.

        :param messages: as for :meth:`send`, each with recipients of its own.
        :raises MessageError: as for :meth:`send`, for any of them: its words say which. Nothing is stored.
        :raises UnknownConnection: ``connection`` names none.
        :raises NotInitializedError: outside an application context, or the application has no
            ``SMTPAdmin``.
        :raises OutboxUnavailable: the database cannot store them.
        """
        options = SendOptions(
            connection=connection,
            priority=priority,
            delay=delay,
            send_at=send_at,
            expires_at=expires_at,
            automated=automated,
            sensitive=sensitive,
            at_most_once=at_most_once,
            max_attempts=max_attempts,
        )
        return mail.submit_many(self._state(), messages, options)

    def add_connection(self, **fields: Any) -> int:
        """Store a connection and return its number; the fields are those of the page's form.

        It is stored at once, whatever becomes of the caller's transaction.

        :raises InvalidConnection: a field breaks its rule or is unknown; ``errors`` lists each.
        :raises OutboxUnavailable: the database cannot store it; on SQLite also while the caller's
            own ``db.session`` has flushed writes.
        :raises ConfigurationError: no safe key to encrypt the password with is configured.
        """
        with importing():
            from . import connections  # noqa: PLC0415

        return connections.create(self._state().core, fields)

    def driver(self, name: str, *, label: str = "") -> Callable[[DeliverT], DeliverT]:
        """Register a way to deliver besides SMTP; use it as a decorator.

        The function gets an envelope (``sender``, ``recipients``, ``content``) and the settings of
        the connection (``host``, ``port``, ``username``, ``password``), and returns the words to
        be logged. It raises :class:`~flask_smtp_admin.errors.DeliveryRefused` for a refusal; after
        any other exception nobody knows whether it arrived: it is tried again later, or held if it
        must not go twice.

        .. code-block:: python

            @smtp_admin.driver("file", label="A folder")
            def to_folder(envelope, settings):
                path = Path(settings.host, uuid4().hex)
                path.write_bytes(envelope.content)
                return f"written to {path}"

        :param name: what is stored with the connection; the worker's application must register it.
        :param label: what the form shows; default: the name.
        :raises ConfigurationError: the name is ``smtp``, or not made of lower-case letters, digits,
            hyphens and underscores.
        """
        with importing():
            from . import connections  # noqa: PLC0415

        def decorate(function: DeliverT) -> DeliverT:
            connections.register(name, function, label)
            return function

        return decorate

    @contextmanager
    def capture(self) -> Iterator[list[FrozenMessage]]:
        """Collect messages instead of storing them, for tests of the host.

        .. code-block:: python

            with smtp_admin.capture() as outbox:
                client.post("/forgotten-password", data={"address": "ada@example.org"})
            assert outbox[0].subject == "Your new password"
        """
        outboxes = self._state().core.trial.outboxes
        collected: list[FrozenMessage] = []
        outboxes.append(collected)
        try:
            yield collected
        finally:
            outboxes.remove(collected)

    @contextmanager
    def fail_with(self, code: int, text: str = "simulated") -> Iterator[None]:
        """Let every delivery inside the block end with this reply, for tests of the host.

        No server is asked. ``code`` is an SMTP reply code, 451 or 550 for instance; it answers the
        end of the message.

        :raises ValueError: ``code`` is no reply code from 200 to 599.
        """
        if not 200 <= code <= 599:
            raise ValueError(f"{code} is no SMTP reply code; use one from 200 to 599.")
        trial = self._state().core.trial
        before, trial.reply = trial.reply, Reply(code, (text,))
        try:
            yield
        finally:
            trial.reply = before

    def _state(self) -> State:
        if not has_app_context():
            raise NotInitializedError(
                "There is no application context here. In a thread, a script or a job, wrap the "
                "call in 'with app.app_context():'."
            )
        state: State | None = current_app.extensions.get(EXTENSION_KEY)
        if state is None:
            raise NotInitializedError(
                "This application has no SMTPAdmin; write SMTPAdmin(app) or call init_app(app)."
            )
        return state


def _settle_later(
    state: State, app: Flask, placement: Placement, serve: Callable[[], None]
) -> None:
    """Look again for extensions that came after this one.

    Every use of theirs and of ours happens inside an application context.
    """
    captures = state.core.config.capture_flask_mail

    def settle(sender: Flask) -> None:
        nonlocal captures
        placement.settle()
        if not captures:
            return
        try:
            mail.capture(sender)
        except ConfigurationError as error:
            # Raised here it would leave the context open, as Flask expects no receiver to raise.
            logger.error("%s", error)  # noqa: TRY400  (the sentence says it all)
            captures = False

    state.settling = Settling(app, settle, serve)


def _key_ring(app: Flask, config: Config) -> KeyRing:
    return KeyRing.from_settings(
        config.keys, app.config.get("SECRET_KEY"), app.config.get("SECRET_KEY_FALLBACKS") or ()
    )
