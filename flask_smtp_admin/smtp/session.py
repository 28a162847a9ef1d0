"""One SMTP session: opening it step by step, and sending messages over it.

Owns the order of the protocol. Must know neither database nor Flask, and nothing of retries: it
reports what happened, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_smtp_admin.smtp.dialogue import Line
from flask_smtp_admin.smtp.reply import Stage
from flask_smtp_admin.smtp.settings import Endpoint
from flask_smtp_admin.smtp.tls import TlsFacts
from flask_smtp_admin.smtp.transaction import Envelope, Transaction


class Session:
    """A session with one server, not thread-safe.

    ``open`` raises :class:`SessionError`; ``send`` never raises for a server's doings.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Callable[[], float] = time.monotonic,
        *,
        pipelining: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.transactions = 0
        self.extensions: dict[str, str] = {}
        self.tls: TlsFacts | None = None

    def open(self, until: Stage | None = None) -> None:
        """Go on to *until* (included), or to the end; raises :class:`SessionError`."""
        raise NotImplementedError

    def send(
        self, envelope: Envelope, *, before_final_dot: Callable[[], bool] | None = None
    ) -> Transaction:
        """Send one message; the outcome is the value returned."""
        raise NotImplementedError

    def rehearse(self, envelope: Envelope) -> Transaction:
        """MAIL and RCPT, then RSET: nothing is sent."""
        raise NotImplementedError

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried."""
        raise NotImplementedError

    def mark(self) -> int:
        """Where the dialogue stands."""
        raise NotImplementedError

    def dialogue_since(self, mark: int = 0) -> tuple[Line, ...]:
        """What was said after *mark*."""
        raise NotImplementedError

    def reset(self) -> None:
        """RSET; a failure makes the session unusable and changes nothing else."""
        raise NotImplementedError

    def quit(self) -> None:
        """QUIT and close; never raises."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once, without a word."""
        raise NotImplementedError
