"""Ringing: from a committed message to whoever delivers it.

Owns one bell a kind of dispatch, made when it is first rung. Must not raise: a wake-up that fails
costs a log line, never the message nor the request.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

from flask import Flask

from ..config import Config
from ..core import Core
from ..late import importing

logger = logging.getLogger(__name__)


onlooker: ContextVar[bool] = ContextVar("smtp_admin_onlooker", default=False)
"""Whether this code only looks at the outbox or steers it, as our own commands do: then it must not
start to deliver. Whoever delivers finds the work with the next sweep."""


class Ringing(Protocol):
    """What every bell can do."""

    def ring(self) -> None:
        """Tell whoever delivers that there is work."""


class _NoBell:
    """Nobody in this process is told; a worker's sweep finds the message."""

    def ring(self) -> None:
        """Do nothing."""


def resolve(config: Config, *, testing: bool, in_memory: Callable[[], bool]) -> str:
    """Return who delivers: ``rq``, ``embedded``, ``inline`` or ``none``."""
    if config.dispatch != "auto":
        return config.dispatch
    if testing:
        return "none"
    if config.redis_url:
        return "rq"
    # A database in memory lives in one connection, which a second thread must not share.
    return "inline" if in_memory() else "embedded"


class Bells:
    """The bell of one application, whichever it is."""

    def __init__(self, app: Flask, core: Callable[[], Core], kind: Callable[[], str]) -> None:
        self._app = app
        self._core = core
        self._kind = kind
        self._lock = threading.Lock()
        self._made: dict[str, Ringing] = {}
        self._opened_in: int | None = None

    def ring(self) -> None:
        """Tell whoever delivers that there is work; never raises."""
        try:
            kind = self._kind()
            if kind == "embedded" and onlooker.get():
                return
            self._bell(kind).ring()
        except Exception:
            logger.exception("The worker could not be woken; its sweep will find the message.")

    def open(self) -> None:
        """Start delivering in this process, where that is its business: at the first request."""
        if self._opened_in == os.getpid():
            return
        self._opened_in = os.getpid()
        try:
            if self._kind() == "embedded":
                self.ring()
        except Exception:
            logger.exception("Delivery could not be started; the next message tries again.")

    def _bell(self, kind: str) -> Ringing:
        bell = self._made.get(kind)
        if bell is None:
            # A child that is forked meanwhile would inherit the lock, and nobody who gives it back.
            with importing(), self._lock:
                bell = self._made.setdefault(kind, self._make(kind))
        return bell

    def _make(self, kind: str) -> Ringing:
        # Imported here, as RQ and the whole worker would cost every start of an application, also
        # of one that has no use for them.
        core = self._core()
        if kind == "rq":
            from .rq_bell import RQBell  # noqa: PLC0415

            return RQBell(core.config)
        if kind == "embedded":
            from .embedded import EmbeddedBell  # noqa: PLC0415

            return EmbeddedBell(core)
        if kind == "inline":
            from .inline import InlineBell  # noqa: PLC0415

            return InlineBell(core)
        return _NoBell()
