"""A lane: one SMTP session of a connection, and the messages that go over it one by one.

Owns the order of claim, mark, send and record. Must not know Flask, nor how many lanes there are.

The outcome of a message and the mark that the next one is in flight are written in one
transaction, before the next one is sent. So at any moment a lane has at most one message of which
it is not known whether the server took it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from ..core import Core
from ..errors import OutboxUnavailable
from ..signals import Event
from ..smtp import (
    Envelope,
    RecipientResult,
    Reply,
    Scope,
    Session,
    SessionError,
    Stage,
    Transaction,
    Verdict,
    judge,
)
from . import breaker, claim, facts, record
from .breaker import Trouble
from .claim import Claimed
from .decide import Decision, decide
from .lease import Lease, Leases
from .limits import allowance
from .rack import Rack
from .record import Carrier, Report

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 50
HEALTH_EVERY = timedelta(seconds=30)
"""How often the success of a healthy connection is written down."""
STORE_AGAIN_AFTER = 0.5
"""Seconds between tries to store an outcome while the database is away."""


@dataclass(frozen=True)
class _Done:
    """A message that was tried, and what is to be written of it."""

    message: Claimed
    attempt_id: int
    decision: Decision
    report: Report


@dataclass(frozen=True)
class _Unopened:
    """A session that could not be opened, and why."""

    error: SessionError
    session: Session

    def report(self) -> Report:
        return Report(
            stage=self.error.stage,
            reply=self.error.reply,
            seconds=0.0,
            dialogue=self.session.dialogue_since(0),
            tls=self.session.tls,
        )


class Lane:
    """Delivers the due messages of one connection until there are none.

    :param worker: the name under which attempts are recorded.
    :param stopping: asked before each message; ``True`` ends the lane after the one in hand.
    """

    def __init__(
        self,
        core: Core,
        carrier: Carrier,
        *,
        rack: Rack,
        leases: Leases,
        worker: str,
        stopping: Callable[[], bool],
        batch_size: int = BATCH,
    ) -> None:
        self._core = core
        self._carrier = carrier
        self._rack = rack
        self._leases = leases
        self._worker = worker
        self._stopping = stopping
        self._batch_size = batch_size
        self._session: Session | None = None
        self._success_noted: datetime | None = None
        self.sent_count = 0

    def run(self) -> None:
        """Claim and deliver, batch by batch, until nothing is due or the connection fails."""
        try:
            going = True
            while going and not self._stopping():
                lease = self._leases.new()
                try:
                    going = self._batch(lease)
                finally:
                    self._leases.drop(lease)
        finally:
            self._put_session_back()

    # --- a batch --------------------------------------------------------------------------------

    def _batch(self, lease: Lease) -> bool:
        """Deliver one batch; ``False`` when there is no reason to ask for another."""
        with self._core.database.write() as connection:
            batch = self._claim(connection, lease)
        going = bool(batch)
        done: _Done | None = None
        for message in batch:
            if self._stopping() or not lease.holds():
                going = False
                break
            done, going = self._one(message, done, lease)
            if not going:
                break
        self._conclude(done, lease)
        return going

    def _claim(self, connection: sa.Connection, lease: Lease) -> list[Claimed]:
        now = self._core.now()
        carrier = self._carrier
        limit = allowance(connection, carrier.id, carrier.limits, self._batch_size, now)
        if not limit:
            return []
        return claim.claim(
            connection, carrier.id, limit=limit, token=lease.token, now=now, lease=lease.lasts
        )

    def _one(self, message: Claimed, done: _Done | None, lease: Lease) -> tuple[_Done | None, bool]:
        """Record the message before, then send this one; ``False`` ends the batch."""
        unopened = self._make_ready()
        if unopened is not None:
            self._record_unopened(message, done, unopened, lease)
            return None, False
        attempt_id = self._turn(done, message, lease)
        if attempt_id is None:
            return None, True
        transaction, report = self._send(message, lease)
        decision = decide(
            message,
            transaction,
            now=self._core.now(),
            chance=random.random(),  # noqa: S311  (spreads retries, hides nothing)
            max_attempts=self._max_attempts(message),
        )
        self.sent_count += int(decision.accepted)
        finished = _Done(message, attempt_id, decision, report)
        return finished, not decision.blames_connection and not transaction.abandoned

    def _conclude(self, done: _Done | None, lease: Lease) -> None:
        """Record the last message of the batch, and release those that were not offered."""

        def write(connection: sa.Connection) -> list[Event]:
            events = self._write_done(connection, done)
            claim.release(connection, lease.token)
            return events

        self._publish(self._store(write, lease))

    def _turn(self, done: _Done | None, message: Claimed, lease: Lease) -> int | None:
        """Write the outcome of one message and the mark of the next in one transaction."""
        now = self._core.now()

        def write(connection: sa.Connection) -> tuple[list[Event], int | None]:
            events = self._write_done(connection, done)
            attempt_id = record.begin(
                connection,
                message,
                self._carrier,
                worker=self._worker,
                now=now,
                lease_until=now + lease.lasts,
            )
            return events, attempt_id

        stored = self._store(write, lease)
        if stored is None:
            return None
        self._publish(stored[0])
        return stored[1]

    # --- the session ----------------------------------------------------------------------------

    def _make_ready(self) -> _Unopened | None:
        """Have an open session, or say why there is none."""
        if self._core.trial.reply is not None:
            return None
        session = self._session
        if session is not None and (
            not session.usable or session.transactions >= self._carrier.messages_per_session
        ):
            self._end_session()
            session = None
        if session is None:
            session = self._session = self._rack.take(self._carrier.endpoint)
        if session is not None:
            return None
        return self._open_session()

    def _open_session(self) -> _Unopened | None:
        session = Session(self._carrier.endpoint)
        try:
            session.open()
        except SessionError as error:
            session.abort()
            return _Unopened(error, session)
        self._session = session
        return None

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.quit()
            self._session = None

    def _put_session_back(self) -> None:
        session, self._session = self._session, None
        if session is not None and session.usable:
            self._rack.put_back(session)
        elif session is not None:
            session.quit()

    def _send(self, message: Claimed, lease: Lease) -> tuple[Transaction, Report]:
        """Offer the message to the server, on a new session when a kept one turns out stale."""
        if self._core.trial.reply is not None:
            return _simulated(message, self._core.trial.reply)
        if message.body is None:
            with self._core.database.read() as connection:
                content = message.content(connection)
        else:
            content = message.body
        envelope = Envelope(
            sender=message.sender,
            recipients=tuple(recipient.address for recipient in message.recipients),
            content=content,
            smtputf8=message.smtputf8,
            eight_bit=message.eight_bit,
        )
        assert self._session is not None
        used_before = self._session.transactions > 0
        transaction = self._session.send(envelope, before_final_dot=lease.holds)
        if used_before and _stale(transaction):
            self._end_session()
            self._open_session()
            if self._session is not None:
                transaction = self._session.send(envelope, before_final_dot=lease.holds)
        return transaction, self._report(transaction)

    def _report(self, transaction: Transaction) -> Report:
        session = self._session
        return Report(
            stage=transaction.stage,
            reply=transaction.reply,
            seconds=transaction.seconds,
            dialogue=session.dialogue_since(transaction.mark) if session else (),
            tls=session.tls if session else None,
        )

    # --- what is written ------------------------------------------------------------------------

    def _write_done(self, connection: sa.Connection, done: _Done | None) -> list[Event]:
        """Write the outcome of a message and what it tells of the connection."""
        if done is None:
            return []
        now = self._core.now()
        mine = record.finish(
            connection, done.message, done.attempt_id, done.decision, done.report, now
        )
        events: list[Event] = []
        if mine:
            events += facts.of_attempt(
                done.message,
                self._carrier,
                done.decision,
                done.report,
                now=now,
                max_attempts=self._max_attempts(done.message),
            )
        if done.decision.blames_connection:
            trouble = Trouble.from_verdict(
                done.decision.verdict, done.report.stage, done.report.reply
            )
            events += self._note_trouble(connection, trouble, now)
        else:
            events += self._note_success(connection, now)
        return events

    def _note_success(self, connection: sa.Connection, now: datetime) -> list[Event]:
        if self._success_noted is not None and now - self._success_noted < HEALTH_EVERY:
            return []
        self._success_noted = now
        if not breaker.note_success(connection, self._carrier.id, now):
            return []
        return [
            facts.of_connection("connection_recovered", self._carrier, None, now=now, retry_at=None)
        ]

    def _note_trouble(
        self, connection: sa.Connection, trouble: Trouble, now: datetime
    ) -> list[Event]:
        opened, retry_at = breaker.note_failure(connection, self._carrier.id, trouble, now)
        self._success_noted = None
        if not opened:
            return []
        return [
            facts.of_connection(
                "connection_failed", self._carrier, trouble, now=now, retry_at=retry_at
            )
        ]

    def _record_unopened(
        self, message: Claimed, done: _Done | None, unopened: _Unopened, lease: Lease
    ) -> None:
        """Write that no session could be opened: one line in the log, and no try is spent."""
        attempt_id = self._turn(done, message, lease)
        if attempt_id is None:
            return
        error = unopened.error
        decision = decide(
            message,
            _uniform(message, error.stage, error.verdict, error.reply),
            now=self._core.now(),
            chance=0.5,
            max_attempts=self._max_attempts(message),
        )
        failed = _Done(message, attempt_id, decision, unopened.report())
        self._publish(self._store(lambda link: self._write_done(link, failed), lease))

    def _store(self, write: Callable[[sa.Connection], T], lease: Lease) -> T | None:
        """Run a write, again and again while the database is away and the lease lasts.

        Nothing else is sent meanwhile. ``None``: the lease ended first; the sweep finds the
        message with its attempt in progress, and treats it as one whose worker died.
        """
        while True:
            try:
                with self._core.database.write() as connection:
                    return write(connection)
            except OutboxUnavailable as error:
                if not lease.holds():
                    logger.error("An outcome could not be stored in time: %s", error)  # noqa: TRY400
                    return None
                logger.warning("An outcome cannot be stored yet: %s", error)
                time.sleep(STORE_AGAIN_AFTER)

    def _publish(self, events: list[Event] | None) -> None:
        for event in events or ():
            self._core.publish(event)

    def _max_attempts(self, message: Claimed) -> int:
        return message.max_attempts or self._carrier.max_attempts or self._core.config.max_attempts


def _stale(transaction: Transaction) -> bool:
    """Tell whether a kept session turned out to be closed, before anything was accepted."""
    verdict = transaction.verdict
    return (
        verdict.scope is Scope.CONNECTION
        and not transaction.usable
        and not transaction.accepted
        and not verdict.uncertain
        and not transaction.abandoned
    )


def _simulated(message: Claimed, reply: Reply) -> tuple[Transaction, Report]:
    transaction = _uniform(message, Stage.BODY, judge(Stage.BODY, reply), reply)
    return transaction, Report(Stage.BODY, reply, 0.0, (), None)


def _uniform(message: Claimed, stage: Stage, verdict: Verdict, reply: Reply | None) -> Transaction:
    """Return a transaction with the same outcome for everybody."""
    return Transaction(
        stage=stage,
        reply=reply,
        verdict=verdict,
        recipients=tuple(
            RecipientResult(recipient.address, verdict, reply) for recipient in message.recipients
        ),
        accepted=verdict.accepted,
        usable=False,
        started=0.0,
        seconds=0.0,
    )
