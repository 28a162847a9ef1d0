"""A lane: one SMTP session of a connection, and the messages that go over it one by one.

Owns the order of mark, send and record. Must not know Flask, nor how many lanes there are.

The outcome of a message and the mark that the next one is in flight are written in one
transaction, before the content of the next one is sent. So at any moment a lane has at most one
message of which it is not known whether the server took it. The transaction may be shared with
other lanes: see :mod:`flask_smtp_admin.delivery.journal`.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ..core import Core
from ..errors import OutboxUnavailable
from ..signals import Event
from ..smtp import Transaction
from . import claim, facts, suspects
from .claim import Claimed
from .crew import Crew
from .decide import Decision, decide
from .journal import Entry, Written
from .lease import Lease
from .link import Link
from .patience import Patience
from .rack import Rack
from .record import Done
from .supply import Handed, Leaving, Place

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.25
"""Seconds between looks at whether a lane that waits for receivers is to leave."""
HEALTH_EVERY = timedelta(seconds=30)
"""How often the success of a healthy connection is written down."""


class Lane:
    """Delivers the due messages of one connection until there are none.

    :param place: where it gets them from.
    :param crew: those it takes turns with, and what it writes with.
    :param worker: the name under which attempts are recorded.
    :param stopping: asked before each message; ``True`` ends the lane after the one in hand.
    """

    def __init__(
        self,
        core: Core,
        place: Place,
        *,
        crew: Crew[Entry, Written],
        patience: Patience,
        rack: Rack,
        worker: str,
        stopping: Callable[[], bool],
    ) -> None:
        self._core = core
        self._place = place
        self._supply = place.supply
        self._carrier = place.supply.carrier
        self._crew = crew
        self._link = Link(self._carrier, rack, core.trial, crew)
        self._patience = patience
        self._worker = worker
        self._stopping = stopping
        self._began_at = core.now()
        self._done: Done | None = None
        self._done_under: Lease | None = None
        self._started_at = self._began_at
        self._success_noted: datetime | None = None
        self._teller: threading.Thread | None = None
        self.has_tried = False
        """Whether a message was tried, so that it is known whether the connection works."""
        self.released_count = 0
        self.sent_count = 0

    def run(self) -> None:
        """Deliver what there is, until nothing is due or the connection fails.

        :raises OutboxUnavailable: the database is away. What was in hand is taken back by a sweep.
        """
        try:
            try:
                self._deliver()
            finally:
                self._conclude()
        finally:
            self._link.close()

    def join_receivers(self) -> None:
        """Wait until what was told last has been heard, when the lane has run."""
        self._join_teller()

    def _deliver(self) -> None:
        while self._goes_on():
            self._wait_for_receivers()
            # They may have taken long.
            handed = self._place.next() if self._goes_on() else None
            if handed is None or not self._guarded(handed):
                return

    def _goes_on(self) -> bool:
        return not self._stopping() and not self._place.is_to_leave

    def _guarded(self, handed: Handed) -> bool:
        """Deliver one message; one that our own code stumbles over must not stop the others."""
        try:
            return self._one(handed)
        except OutboxUnavailable:
            self._supply.give_up(*handed)
            raise
        except Exception as error:
            if self._is_stuck_with_the_one_before():
                self._supply.take_back(self._place, handed)
                raise
            logger.exception(
                "flask-smtp-admin failed on message %d. It is tried again in a minute, after three "
                "times it is held, and the others go on. Please report the traceback.",
                handed.message.id,
            )
            self._put_aside(handed, error)
            return True

    def _is_stuck_with_the_one_before(self) -> bool:
        """Tell whether it is an outcome that cannot be written: no other message is to blame for it."""
        try:
            self._write()
        except Exception:  # noqa: BLE001  (the caller has one to tell of)
            return True
        return False

    def _put_aside(self, handed: Handed, error: Exception) -> None:
        message, lease = handed
        self._link.abort()
        self._place.has_outcome()
        now = self._core.now()
        try:
            self._patience.until_end_of(
                lease, lambda link: suspects.put_aside(link, message, now, error)
            )
        except BaseException:
            self._supply.give_up(message, lease)
            raise
        self._supply.settled(message, lease)

    def _one(self, handed: Handed) -> bool:
        """Record the message before, then send this one; ``False`` ends the lane."""
        message, lease = handed
        self._link.expect(message)
        content = self._content(message, lease)
        if not content or not message.recipients:
            return self._hold_back(handed, bool(content))
        if self._comes_later(handed):
            return True
        if not self._link.is_ready:
            # Opening may take long: what is known already must not hang on it.
            self._write()
        self._place.waits()
        unopened = self._link.make_ready()
        self._place.goes_on()
        self._supply.seat(self._place)
        following = self._reserve() if unopened is None else None
        written = self._write(following=handed)
        if written.began is None:
            self._supply.take_back(self._place, handed)
            return False
        if not written.began:
            self._link.take_back_offer()
            self._supply.settled(message, lease)
            return True
        self._place.offers()
        if unopened is not None:
            transaction, report = unopened.outcome(message)
        else:
            transaction, report = self._link.send(
                message,
                content,
                before_final_dot=lease.lets_end,
                then=following.message if following is not None else None,
            )
        self._place.has_outcome()
        self.has_tried = True
        decision = self._decide(message, transaction)
        self.sent_count += int(decision.accepted)
        self._done = Done(message, self._started_at, decision, report)
        self._done_under = lease
        return decision.blames is None and not transaction.abandoned

    def _reserve(self) -> Handed | None:
        """Return the message after this one, which may be offered early; it can do without."""
        try:
            return self._place.reserve()
        except OutboxUnavailable:
            return None

    def _content(self, message: Claimed, lease: Lease) -> bytes:
        """Return the frozen bytes, read before the message counts as in flight."""
        if message.body is not None:
            return message.body
        return self._patience.until_end_of(lease, message.content)

    def _hold_back(self, handed: Handed, has_content: bool) -> bool:
        message, lease = handed
        missing = "it has no recipient left" if has_content else "its content is missing"
        reason = f"It cannot be sent: {missing}."
        logger.error("Message %d is held. %s", message.id, reason)
        self._link.take_back_offer()
        self._patience.until_end_of(lease, lambda link: claim.hold_back(link, message, reason))
        self._supply.settled(message, lease)
        return True

    def _comes_later(self, handed: Handed) -> bool:
        """Tell whether it may be what stops the workers, and waits for another such message."""
        message, lease = handed
        if message.crash_count < suspects.CRASHES_TO_SUSPECT:
            return False
        self._write()  # it may be the one before
        now = self._core.now()
        is_put_off = self._patience.until_end_of(
            lease, lambda link: suspects.put_off(link, message, now)
        )
        if is_put_off:
            self._link.take_back_offer()
            self._supply.settled(message, lease)
        return is_put_off

    def _decide(self, message: Claimed, transaction: Transaction) -> Decision:
        return decide(
            message,
            transaction,
            now=self._core.now(),
            chance=random.random(),  # noqa: S311  (spreads retries, hides nothing)
            max_attempts=self._max_attempts(message),
        )

    def _conclude(self) -> None:
        """Record the last message; the last lane also releases what was not offered."""
        try:
            self._link.put_back(is_wanted=not self._place.gives_up_session)
        finally:
            leaving = self._supply.leave(self._place)
        try:
            self.released_count += self._write(leaving=leaving).released
            if leaving is not None:
                leaving.seats.confirm(leaving.connection_id)
        except OutboxUnavailable:
            if self._done is not None:
                logger.exception(
                    "The outcome of message %d could not be written (%s). It counts as in flight: when "
                    "its lease has ended it is sent again, or held if it must not go twice.",
                    self._done.message.id,
                    self._done.decision.reason,
                )
            raise
        finally:
            if self._done is not None and self._done_under is not None:
                self._supply.give_up(self._done.message, self._done_under)
            if leaving is not None:
                self._supply.close()

    # --- what is written ------------------------------------------------------------------------

    def _write(self, *, following: Handed | None = None, leaving: Leaving | None = None) -> Written:
        """Write the outcome of one message and the mark of the next in one transaction.

        While the database is away it is tried again and again, and nothing else is sent. A known
        outcome is kept as long as the process lives; without one it ends with the lease.

        :raises OutboxUnavailable: given up. The sweep finds a message that is in flight, and
            treats it as one whose worker died.
        """
        if self._done is None and following is None and leaving is None:
            return Written()
        next_one = following.message if following is not None else None
        lease = following.lease if following is not None else self._done_under
        if lease is None and leaving is not None:
            lease = next(iter(leaving.leases), None)
        entry = Entry(
            self._carrier,
            self._worker,
            self._began_at,
            self._max_attempts(self._done.message if self._done is not None else next_one),
            success_is_news=self._success_is_news(),
            done=self._done,
            following=next_one,
            leaving=leaving,
        )
        while True:
            self._started_at = self._core.now()
            try:
                written = self._crew.write(entry)
                break
            except OutboxUnavailable as error:
                holds = lease is not None and lease.holds()
                if not holds and (self._done is None or self._stopping()):
                    raise
                self._patience.pause(error)
            # A mark that was committed all the same is removed, if nothing is sent under it.
            mine, forgotten = (next_one, None) if holds else (None, next_one)
            entry = replace(entry, again=True, following=mine, forgotten=forgotten)
        self._note_success(taken=written.success_noted)
        self._tell(written.events)
        return written

    def _tell(self, events: Sequence[Event]) -> None:
        """Let the host's receivers know; they may take their time, which is this lane's alone.

        The message that has just been marked is sent meanwhile: a lane that waited for them now would
        have it in flight for as long, without anybody having offered it.
        """
        for event in events:
            facts.log(event)
        heard = [event for event in events if self._core.hears(event.code)]
        if heard:
            before = self._teller
            self._teller = self._crew.meanwhile(lambda: self._publish(heard, before))

    def _wait_for_receivers(self) -> None:
        """Wait until what was told last has been heard, with no message in flight, nor an outcome."""
        if self._teller is not None and self._teller.is_alive():
            self._place.waits()
            self._write()
            self._join_teller(self._goes_on)
            self._place.goes_on()
        elif not self._crew.is_lane() and self._has_news():
            self._write()  # it waits for them there and then

    def _has_news(self) -> bool:
        """Tell whether somebody may want to hear of the outcome that is not written yet."""
        done = self._done
        return done is not None and (
            not facts.is_plain_success(done.decision)
            or self._core.hears("message_sent")
            or (self._success_is_news() and self._core.hears("connection_recovered"))
        )

    def _join_teller(self, is_to_wait: Callable[[], bool] = lambda: True) -> None:
        teller = self._teller

        def join() -> None:
            while teller is not None and teller.is_alive() and is_to_wait():
                teller.join(LOOK_EVERY)

        if teller is not None and teller.is_alive():
            self._crew.aside(join)

    def _publish(self, events: Sequence[Event], before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        for event in events:
            self._core.publish(event)

    def _note_success(self, *, taken: bool) -> None:
        """Remember what was written of the connection's health."""
        done, self._done = self._done, None
        lease, self._done_under = self._done_under, None
        if done is not None and lease is not None:
            self._supply.settled(done.message, lease)
        if done is not None and done.decision.blames is not None:
            self._success_noted = None
        elif done is not None and taken and self._success_is_news():
            self._success_noted = self._core.now()

    def _success_is_news(self) -> bool:
        noted = self._success_noted
        return noted is None or self._core.now() - noted >= HEALTH_EVERY

    def _max_attempts(self, message: Claimed | None) -> int:
        own = None if message is None else message.max_attempts
        return own or self._carrier.max_attempts or self._core.config.max_attempts
