"""A lane: one SMTP session of a connection, and the messages that go over it one by one.

Owns the order of claim, mark, send and record. Must not know Flask, nor how many lanes there are.

The outcome of a message and the mark that the next one is in flight are written in one
transaction, before the content of the next one is sent. So at any moment a lane has at most one
message of which it is not known whether the server took it. The transaction may be shared with
other lanes: see :mod:`flask_smtp_admin.delivery.journal`.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import TypeVar

import sqlalchemy as sa

from ..core import Core
from ..errors import OutboxUnavailable
from ..signals import Event
from ..smtp import Transaction
from . import claim, housekeeping, record
from .claim import Claimed
from .crew import Crew
from .decide import Decision, decide
from .journal import Entry, Written
from .lease import Lease, Leases
from .limits import allowance, others_sessions
from .link import Link
from .rack import Rack
from .record import Carrier, Done

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH, FIRST_BATCH = 50, 20
"""Messages at most of a claim, and of a lane's first."""
BATCH_SECONDS = 1.0
"""What a claim should last: a message that is urgent waits for no longer than that."""
HEALTH_EVERY = timedelta(seconds=30)
"""How often the success of a healthy connection is written down."""
STORE_AGAIN_AFTER = 0.5
"""Seconds between tries to store an outcome while the database is away."""
CLAIM_TRIES = 2
"""A database may end a transaction to let another one through; nothing is lost by claiming later."""


class Lane:
    """Delivers the due messages of one connection until there are none.

    :param crew: those it takes turns with, and what it writes with.
    :param worker: the name under which attempts are recorded.
    :param stopping: asked before each message; ``True`` ends the lane after the one in hand.
    """

    def __init__(
        self,
        core: Core,
        carrier: Carrier,
        *,
        crew: Crew[Entry, Written],
        rack: Rack,
        leases: Leases,
        worker: str,
        stopping: Callable[[], bool],
        batch_size: int = BATCH,
    ) -> None:
        self._core = core
        self._carrier = carrier
        self._crew = crew
        self._link = Link(carrier, rack, core.trial, crew)
        self._leases = leases
        self._worker = worker
        self._stopping = stopping
        self._largest_batch = batch_size
        self._batch_size = min(batch_size, FIRST_BATCH)
        self._began_at = core.now()
        self._done: Done | None = None
        self._started_at = self._began_at
        self._success_noted: datetime | None = None
        self.is_crowded_out = False
        """Whether other workers have all the sessions that the connection may have."""
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
        began = time.monotonic()
        try:
            for message, following in zip(batch, [*batch[1:], None], strict=True):
                if self._stopping() or not lease.holds():
                    return False
                if not self._guarded(message, following, lease):
                    return False
            self._size_up((time.monotonic() - began) / len(batch))
            return True
        finally:
            self._conclude(lease)

    def _size_up(self, seconds: float) -> None:
        """Claim as many next time as take a moment, at so many seconds a message."""
        fitting = int(BATCH_SECONDS / max(seconds, 1e-6))
        self._batch_size = max(1, min(fitting, self._largest_batch))

    def _claim(self, connection: sa.Connection, lease: Lease) -> list[Claimed]:
        carrier = self._carrier
        if not record.still_current(connection, [carrier]):
            return []
        now = self._core.now()
        skew = self._core.database.skew(connection)
        alive = now + skew + self._leases.proof
        if others_sessions(connection, carrier.id, alive) >= carrier.max_sessions:
            self.is_crowded_out = True
            return []
        limit = allowance(connection, carrier.id, carrier.limits, self._batch_size, now)
        if not limit:
            return []
        return claim.claim(
            connection,
            carrier.id,
            limit=limit,
            token=lease.token,
            now=now,
            lease_until=now + skew + lease.lasts,
        )

    def _guarded(self, message: Claimed, following: Claimed | None, lease: Lease) -> bool:
        """Deliver one message; one that our own code stumbles over must not stop the others."""
        try:
            return self._one(message, following, lease)
        except OutboxUnavailable:
            raise
        except Exception as error:
            logger.exception("Message %d could not be handled.", message.id)
            self._put_aside(message, error, lease)
            return True

    def _put_aside(self, message: Claimed, error: Exception, lease: Lease) -> None:
        self._link.abort()
        lease.has_outcome()
        now = self._core.now()
        self._store(lambda link: housekeeping.put_aside(link, message, now, error), lease)

    def _one(self, message: Claimed, following: Claimed | None, lease: Lease) -> bool:
        """Record the message before, then send this one; ``False`` ends the batch."""
        content = self._content(message, lease)
        if not content or not message.recipients:
            return self._hold_back(message, bool(content), lease)
        if not self._link.is_ready:
            # Opening may take long: what is known already must not hang on it.
            self._write(lease)
        unopened = self._link.make_ready()
        written = self._write(lease, following=message)
        if written.began is None:
            return False
        if not written.began:
            self._link.take_back_offer()
            return True
        lease.offers()
        if unopened is not None:
            transaction, report = unopened.outcome(message)
        else:
            transaction, report = self._link.send(
                message, content, before_final_dot=lease.holds, then=following
            )
        lease.has_outcome()
        decision = self._decide(message, transaction)
        self.sent_count += int(decision.accepted)
        self._done = Done(message, self._started_at, decision, report)
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
        self._link.take_back_offer()
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
        self._link.take_back_offer()
        try:
            self.released_count += self._write(lease, ends=True).released
        except OutboxUnavailable:
            if self._done is not None:
                logger.exception("An outcome was lost: %s", self._done.decision.reason)
            raise

    # --- what is written ------------------------------------------------------------------------

    def _write(
        self, lease: Lease, *, following: Claimed | None = None, ends: bool = False
    ) -> Written:
        """Write the outcome of one message and the mark of the next in one transaction.

        While the database is away it is tried again and again, and nothing else is sent. A known
        outcome is kept as long as the process lives; without one it ends with the lease.

        :raises OutboxUnavailable: given up. The sweep finds a message that is in flight, and
            treats it as one whose worker died.
        """
        entry = Entry(
            self._carrier,
            lease,
            self._worker,
            self._began_at,
            self._max_attempts(self._done.message if self._done is not None else following),
            success_is_news=self._success_is_news(),
            done=self._done,
            following=following,
            ends=ends,
        )
        while True:
            self._started_at = self._core.now()
            try:
                written = self._crew.write(entry)
                break
            except OutboxUnavailable as error:
                if not lease.holds() and (self._done is None or self._stopping()):
                    raise
                logger.warning("The database did not take it, trying again: %s", error)
            self._crew.sleep(STORE_AGAIN_AFTER)
            entry = replace(entry, again=True, following=following if lease.holds() else None)
        self._note_success()
        self._tell(written.events)
        return written

    def _tell(self, events: Sequence[Event]) -> None:
        """Let the host's receivers know; they may take their time, which is this lane's alone."""
        heard = [event for event in events if self._core.hears(event.code)]
        if heard:
            self._crew.aside(lambda: self._publish(heard))

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self._core.publish(event)

    def _note_success(self) -> None:
        """Remember what was written of the connection's health."""
        done, self._done = self._done, None
        if done is not None and done.decision.blames is not None:
            self._success_noted = None
        elif done is not None and self._success_is_news():
            self._success_noted = self._core.now()

    def _success_is_news(self) -> bool:
        noted = self._success_noted
        return noted is None or self._core.now() - noted >= HEALTH_EVERY

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
                self._crew.sleep(STORE_AGAIN_AFTER)
        raise AssertionError("The loop has no end of its own.")

    def _max_attempts(self, message: Claimed | None) -> int:
        own = None if message is None else message.max_attempts
        return own or self._carrier.max_attempts or self._core.config.max_attempts
