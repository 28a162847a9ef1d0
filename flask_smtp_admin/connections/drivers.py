"""The kinds of connections: what stands in the column *Driver*, and how each delivers.

Owns the registry. ``smtp`` is ours; a host adds others, an HTTP interface of its provider for
instance. Must not know the database.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace

from flask_smtp_admin.errors import ConfigurationError, DeliveryRefused
from flask_smtp_admin.smtp import (
    BLOCKING,
    Endpoint,
    Envelope,
    Line,
    ProbeReport,
    RecipientResult,
    Reply,
    Session,
    Stage,
    Step,
    Transaction,
    Waiter,
    judge,
)

logger = logging.getLogger(__name__)

Deliver = Callable[[Envelope, Endpoint], str]
"""What a host writes: it hands the message over, and returns the words to be logged.

It raises :class:`~flask_smtp_admin.errors.DeliveryRefused` when the other side says no; after any
other exception nobody knows whether it arrived.
"""

DRIVERS: dict[str, str] = {"smtp": "SMTP"}
"""Name, as it is stored, and label."""

_deliveries: dict[str, Deliver] = {}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def register(name: str, deliver: Deliver, label: str = "") -> None:
    """Add a driver, or replace the host's own of that name, for all applications of the process.

    :param name: up to 40 lower-case letters, digits, hyphens and underscores.
    :param label: what the form shows; default: the name.
    :raises ConfigurationError: the name has another form, or is ``smtp``.
    """
    if name == "smtp" or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a driver; use up to 40 lower-case letters, digits, "
            "hyphens and underscores, and not 'smtp'."
        )
    DRIVERS[name] = label or name
    _deliveries[name] = deliver


def session_for(driver: str, endpoint: Endpoint, waiter: Waiter = BLOCKING) -> Session:
    """Return a session that is not open yet.

    :param waiter: how it waits for the other side. Default: by blocking the thread.
    :raises ConfigurationError: the host registers no driver of this name any more.
    """
    if driver == "smtp":
        return Session(endpoint, waiter=waiter)
    if driver not in _deliveries:
        raise ConfigurationError(
            f"No driver {driver!r} is registered in this process. Register it when the "
            "application is made, or choose another driver for the connection."
        )
    return DriverSession(endpoint, _deliveries[driver], waiter)


class DriverSession(Session):
    """One delivery by a host's driver, in the form of a session. It serves one message."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, waiter: Waiter) -> None:
        super().__init__(endpoint, waiter=waiter)
        self._deliver = deliver
        self._said: tuple[Line, ...] = ()
        self._began = time.monotonic()

    def open(self, until: Stage | None = None) -> None:
        """Do nothing: there is nothing to open."""

    def send(
        self,
        envelope: Envelope,
        *,
        before_final_dot: Callable[[], bool] | None = None,
        then: Envelope | None = None,
    ) -> Transaction:
        """Have the host deliver the message; its exceptions become a reply."""
        if before_final_dot is not None and not before_final_dot():
            return self._outcome(
                envelope, Reply(451, ("Given up before it was handed over",)), True
            )
        self.transactions += 1
        try:
            reply = _reply(250, self._said_by_host(envelope))
        except DeliveryRefused as refusal:
            reply = _reply(refusal.code, str(refusal))
        except (Exception, SystemExit) as error:
            logger.exception("A driver raised an exception.")
            reply = _reply(451, f"The driver raised {type(error).__name__}: {error}")
            # Whoever it talked to may have the message, as when only the answer was lost.
            return self._outcome(envelope, reply, False, uncertain=True)
        return self._outcome(envelope, reply, False)

    def _said_by_host(self, envelope: Envelope) -> str:
        # The host's code blocks, for as long as it likes.
        return str(self._waiter.aside(lambda: self._deliver(envelope, self.endpoint)))

    def _outcome(
        self, envelope: Envelope, reply: Reply, abandoned: bool, *, uncertain: bool = False
    ) -> Transaction:
        verdict = replace(judge(Stage.BODY, reply), uncertain=uncertain)
        seconds = time.monotonic() - self._began
        self._said = (Line(round(seconds * 1000), "S", str(reply), Stage.BODY),)
        return Transaction(
            stage=Stage.BODY,
            reply=reply,
            verdict=verdict,
            recipients=tuple(
                RecipientResult(address, verdict, reply) for address in envelope.recipients
            ),
            accepted=verdict.accepted,
            usable=False,
            started=self._began,
            seconds=seconds,
            abandoned=abandoned,
        )

    @property
    def usable(self) -> bool:
        """Never for a second message: what a driver keeps open is its own business."""
        return False

    def dialogue_since(self, mark: int = 0) -> tuple[Line, ...]:
        """Return what the driver answered."""
        return self._said


def _reply(code: int, words: str) -> Reply:
    """Return the host's words, made as harmless as a server's: no database takes all of them."""
    lines = words.splitlines() or [""]
    return Reply.from_wire(code, [line.encode("utf-8", "backslashreplace") for line in lines])


def probe_driver(
    driver: str,
    endpoint: Endpoint,
    envelope: Envelope | None,
    on_stage: Callable[[Step], None],
) -> ProbeReport:
    """Try a host's driver: with a message it delivers that, without there is nothing to try."""
    if envelope is None:
        remark = "This driver has no stages to try; enter an address to send a test message."
        step = Step(Stage.BODY, "skipped", 0, remark)
        on_stage(step)
        return ProbeReport(True, remark, (step,), ())
    session = session_for(driver, endpoint)
    outcome = session.send(envelope)
    step = Step(
        Stage.BODY,
        "ok" if outcome.accepted else "failed",
        round(outcome.seconds * 1000),
        reply=outcome.reply,
        remark=str(outcome.reply),
        cause="" if outcome.accepted else outcome.verdict.summary,
    )
    on_stage(step)
    summary = "The driver took the test message." if outcome.accepted else outcome.verdict.summary
    return ProbeReport(
        ok=outcome.accepted,
        summary=summary,
        steps=(step,),
        dialogue=session.dialogue_since(),
        verdict=None if outcome.accepted else outcome.verdict,
        delivered=outcome.accepted,
    )
