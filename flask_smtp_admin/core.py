"""What the engine knows of the application it works for.

Owns one record that is handed down, so that outbox, delivery and worker need no Flask. Must not
know Flask, nor who made the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .bulk import Runs
from .config import Config
from .crypto import KeyRing
from .database import Database
from .signals import Event
from .smtp import FrozenMessage, Reply

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the present time, aware and in UTC."""
    return datetime.now(timezone.utc)


@dataclass
class Trial:
    """What a test of the host has switched on: see ``SMTPAdmin.capture`` and ``fail_with``."""

    outboxes: list[list[FrozenMessage]] = field(default_factory=list)
    """Messages go to the last of these instead of being stored."""
    reply: Reply | None = None
    """Deliveries end with this reply, without a server being asked."""


@dataclass(frozen=True)
class Core:
    """One application's outbox, as the engine sees it.

    :param publish: hands an event to the application's signal receivers; never raises.
    :param hears: tells whether there may be a receiver for the events of a code.
    :param ring: tells whoever delivers that there is work; never raises, may be lost.
    :param after_commit: given a function, runs it once the caller's transaction has committed, and
        never if it rolls back.
    :param own_now: the time by this machine's clock, where ``now`` goes by another one.
    """

    config: Config
    database: Database
    keys: KeyRing
    publish: Callable[[Event], None]
    ring: Callable[[], None]
    after_commit: Callable[[Callable[[], None]], None]
    now: Callable[[], datetime] = utc_now
    trial: Trial = field(default_factory=Trial)
    hears: Callable[[str], bool] = lambda _: True
    own_now: Callable[[], datetime] | None = None

    def database_time(self, connection: Runs) -> datetime:
        """Return the time by the database's clock, asked now: a lease must not hang on an older look.

        :raises OutboxUnavailable: the database is away.
        """
        skew = self.database.skew(connection)  # first: its answer may take its time
        return (self.own_now or self.now)() + skew

    def clock_ahead(self) -> timedelta:
        """Return how far the clock that we go by is ahead of the machine's: nothing, unless in a test."""
        return (self.own_now or self.now)() - utc_now()


EXTENSION_KEY = "smtp_admin"
"""Where an application keeps its :class:`State`: ``app.extensions["smtp_admin"]``."""


@dataclass(eq=False)
class State:
    """One application's share of the extension.

    :param core: what the engine works with.
    :param authorize: the host's answer to "may the current user do this?", or ``None`` while the
        host has given none.
    :param find_dispatch: resolves who delivers, as late as the question comes.
    :param url_prefix: where the pages are mounted.
    :param settling: kept here, so that it lasts as long as the application.
    """

    core: Core
    authorize: Callable[[str], object] | None = None
    find_dispatch: Callable[[], str] = lambda: "none"
    url_prefix: str = "/smtp-admin"
    settling: object = None

    @property
    def dispatch(self) -> str:
        """Who delivers: ``rq``, ``embedded``, ``inline`` or ``none``."""
        return self.find_dispatch()

    def allowed(self, action: str) -> bool:
        """Tell whether the host allows ``action``: only the value ``True`` does.

        An exception of the host's function is logged and means no.
        """
        if self.authorize is None:
            return False
        try:
            return self.authorize(action) is True
        except Exception:
            logger.exception("The authorize function raised an exception; access was refused.")
            return False
