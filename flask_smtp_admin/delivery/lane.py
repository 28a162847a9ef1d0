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
from itertools import count
from typing import TypeVar

import sqlalchemy as sa

from ..connections import note_success
from ..core import Core
from ..errors import OutboxUnavailable
from ..signals import Event
from ..smtp import Transaction
from . import breaker, claim, facts, housekeeping, record
from .breaker import Trouble
from .claim import Claimed
from .decide import Decision, decide
from .lease import Lease, Leases
from .limits import allowance
from .link import Link
from .rack import Rack
from .record import Carrier, Report

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 50
HEALTH_EVERY = timedelta(seconds=30)
"""How often the success of a healthy connection is written down."""
STORE_AGAIN_AFTER = 0.5
"""Seconds between tries to store an outcome while the database is away."""
CLAIM_TRIES = 2
"""A database may end a transaction to let another one through; nothing is lost by claiming later."""


@dataclass(frozen=True)
class _Done:
    """A message that was tried, and what is to be written of it."""

    message: Claimed
    attempt_id: int
    decision: Decision
    report: Report


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
        self._link = Link(carrier, rack, core.trial)
        self._leases = leases
        self._worker = worker
        self._stopping = stopping
        self._batch_size = batch_size
        self._began_at = core.now()
        self._done: _Done | None = None
        self._success_noted: datetime | None = None
        self.claimed_count = 0
        self.released_count = 0
        self.sent_count = 0

    def run(self) -> None:
        """Claim and deliver, batch by batch, until nothing is due or the connection fails.

        :raises OutboxUnavailable: the database is away. What was in hand is taken back by a sweep.
        """
        try:
            going = True
            while going and not self._stopping():
                lease = self._leases.new()
                try:
                    going = self._batch(lease)
                finally:
                    self._leases.drop(lease)
        finally:
            self._link.put_back()

    # --- a batch --------------------------------------------------------------------------------

    def _batch(self, lease: Lease) -> bool:
        """Deliver one batch; ``False`` when there is no reason to ask for another."""
        batch = self._store(lambda link: self._claim(link, lease), lease, tries=CLAIM_TRIES)
        self.claimed_count += len(batch)
        if not batch:
            return False
        try:
            for message in batch:
                if self._stopping() or not lease.holds() or not self._guarded(message, lease):
                    return False
            return True
        finally:
            self._conclude(lease)

    def _claim(self, connection: sa.Connection, lease: Lease) -> list[Claimed]:
        carrier = self._carrier
        if not carrier.is_current(connection):
            return []
        now = self._core.now()
        limit = allowance(connection, carrier.id, carrier.limits, self._batch_size, now)
        if not limit:
            return []
        return claim.claim(
            connection, carrier.id, limit=limit, token=lease.token, now=now, lease=lease.lasts
        )

    def _guarded(self, message: Claimed, lease: Lease) -> bool:
        """Deliver one message; one that our own code stumbles over must not stop the others."""
        try:
            return self._one(message, lease)
        except OutboxUnavailable:
            raise
        except Exception as error:
            logger.exception("Message %d could not be handled.", message.id)
            self._put_aside(message, error, lease)
            return True

    def _put_aside(self, message: Claimed, error: Exception, lease: Lease) -> None:
        self._link.abort()
        now = self._core.now()
        self._store(lambda link: housekeeping.put_aside(link, message, now, error), lease)

    def _one(self, message: Claimed, lease: Lease) -> bool:
        """Record the message before, then send this one; ``False`` ends the batch."""
        content = self._content(message, lease)
        if not content or not message.recipients:
            return self._hold_back(message, bool(content), lease)
        if not self._link.is_ready:
            # Opening may take long: what is known already must not hang on it.
            self._settled(self._store(self._write_done, lease))
        unopened = self._link.make_ready()
        attempt_id = self._turn(message, lease)
        if attempt_id is None:
            return True
        if unopened is not None:
            transaction, report = unopened.outcome(message)
        else:
            transaction, report = self._link.send(message, content, before_final_dot=lease.holds)
        decision = self._decide(message, transaction)
        self.sent_count += int(decision.accepted)
        self._done = _Done(message, attempt_id, decision, report)
        return decision.blames is None and not transaction.abandoned

    def _content(self, message: Claimed, lease: Lease) -> bytes:
        """Return the frozen bytes, read before the message counts as in flight."""
        if message.body is not None:
            return message.body
        return self._store(message.content, lease)

    def _hold_back(self, message: Claimed, has_content: bool, lease: Lease) -> bool:
        missing = "it has no recipient left" if has_content else "its content is missing"
        reason = f"It cannot be sent: {missing}."
        logger.error("Message %d is held. %s", message.id, reason)
        self._store(lambda link: claim.hold_back(link, message, reason), lease)
        return True

    def _decide(self, message: Claimed, transaction: Transaction) -> Decision:
        return decide(
            message,
            transaction,
            now=self._core.now(),
            chance=random.random(),  # noqa: S311  (spreads retries, hides nothing)
            max_attempts=self._max_attempts(message),
        )

    def _conclude(self, lease: Lease) -> None:
        """Record the last message of the batch, and release those that were not offered."""

        def write(connection: sa.Connection) -> tuple[list[Event], int]:
            return self._write_done(connection), claim.release(connection, lease.token)

        try:
            events, released = self._store(write, lease)
        except OutboxUnavailable:
            if self._done is not None:
                logger.exception("An outcome was lost: %s", self._done.decision.reason)
            raise
        self.released_count += released
        self._settled(events)

    def _turn(self, message: Claimed, lease: Lease) -> int | None:
        """Write the outcome of one message and the mark of the next in one transaction.

        ``None``: this message has been taken over by another worker.
        """
        tries = 0

        def write(connection: sa.Connection) -> tuple[list[Event], int | None]:
            nonlocal tries
            tries += 1
            now = self._core.now()
            if tries > 1:
                record.forget(connection, message)
            events = self._write_done(connection)
            attempt_id = record.begin(
                connection,
                message,
                self._carrier,
                worker=self._worker,
                now=now,
                lease_until=now + lease.lasts,
            )
            return events, attempt_id

        events, attempt_id = self._store(write, lease)
        self._settled(events)
        return attempt_id

    def _settled(self, events: list[Event]) -> None:
        """Go on after the outcome of a message was committed."""
        done, self._done = self._done, None
        if done is not None and done.decision.blames is not None:
            self._success_noted = None
        elif done is not None and self._success_is_news():
            self._success_noted = self._core.now()
        for event in events:
            self._core.publish(event)

    # --- what is written ------------------------------------------------------------------------

    def _write_done(self, connection: sa.Connection) -> list[Event]:
        """Write the outcome of the last message and what it tells of the connection."""
        done = self._done
        if done is None:
            return []
        now = self._core.now()
        events: list[Event] = []
        if record.finish(
            connection, done.message, done.attempt_id, done.decision, done.report, now
        ):
            events += facts.of_attempt(
                done.message,
                self._carrier,
                done.decision,
                done.report,
                now=now,
                max_attempts=self._max_attempts(done.message),
            )
        blames = done.decision.blames
        if blames is None:
            return events + self._note_success(connection, now)
        trouble = Trouble.from_verdict(blames, done.report.stage, done.report.reply, self._began_at)
        return events + self._note_trouble(connection, trouble, now)

    def _success_is_news(self) -> bool:
        noted = self._success_noted
        return noted is None or self._core.now() - noted >= HEALTH_EVERY

    def _note_success(self, connection: sa.Connection, now: datetime) -> list[Event]:
        if not self._success_is_news() or not note_success(connection, self._carrier.id, now):
            return []
        return [
            facts.of_connection("connection_recovered", self._carrier, None, now=now, retry_at=None)
        ]

    def _note_trouble(
        self, connection: sa.Connection, trouble: Trouble, now: datetime
    ) -> list[Event]:
        opened, retry_at = breaker.note_failure(connection, self._carrier.id, trouble, now)
        if not opened:
            return []
        return [
            facts.of_connection(
                "connection_failed", self._carrier, trouble, now=now, retry_at=retry_at
            )
        ]

    def _store(
        self, act: Callable[[sa.Connection], T], lease: Lease, *, tries: int | None = None
    ) -> T:
        """Run something in a transaction, again and again while the database is away.

        Nothing else is sent meanwhile.

        :param tries: give up after so many. Default: when the lease has ended.
        :raises OutboxUnavailable: given up. The sweep finds a message that is in flight, and
            treats it as one whose worker died.
        """
        for number in count(1):
            try:
                with self._core.database.write() as connection:
                    return act(connection)
            except OutboxUnavailable as error:
                if number == tries or not lease.holds():
                    raise
                logger.warning("The database did not take it, trying again: %s", error)
                time.sleep(STORE_AGAIN_AFTER)
        raise AssertionError("The loop has no end of its own.")

    def _max_attempts(self, message: Claimed) -> int:
        return message.max_attempts or self._carrier.max_attempts or self._core.config.max_attempts
