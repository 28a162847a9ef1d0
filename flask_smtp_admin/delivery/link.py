"""The SMTP session of a lane: opened when needed, kept for the next message, opened again when stale.

Owns when a session serves no longer, and the trial that answers in a server's place. Must not know
the database, nor what an outcome means for the message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..connections import session_for
from ..core import Trial
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
    Waiter,
    judge,
)
from .claim import Claimed
from .rack import Rack
from .record import Carrier, Report


@dataclass(frozen=True)
class Unopened:
    """A session that could not be opened, and why."""

    error: SessionError
    session: Session

    def outcome(self, message: Claimed) -> tuple[Transaction, Report]:
        """Return what that means for a message that should have gone over it."""
        error = self.error
        report = Report(
            stage=error.stage,
            reply=error.reply,
            seconds=0.0,
            dialogue=self.session.dialogue_since(0),
            tls=self.session.tls,
        )
        return _uniform(message, error.stage, error.verdict, error.reply), report


class Link:
    """One session at a time to the server of a carrier."""

    def __init__(self, carrier: Carrier, rack: Rack, trial: Trial, waiter: Waiter) -> None:
        self._carrier = carrier
        self._rack = rack
        self._trial = trial
        self._waiter = waiter
        self._session: Session | None = None
        self._is_retired = False
        self._offered: tuple[Claimed, Envelope] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a message can be sent without opening a session first."""
        session = self._session
        return self._trial.reply is not None or (session is not None and self._serves(session))

    def make_ready(self) -> Unopened | None:
        """Have an open session, or say why there is none."""
        if self._trial.reply is not None:
            return None
        session = self._session or self._rack.take(self._carrier.id, self._carrier.endpoint)
        while session is not None and not self._serves(session):
            session.quit()
            session = self._rack.take(self._carrier.id, self._carrier.endpoint)
        self._session = session
        return self._open() if session is None else None

    def send(
        self,
        message: Claimed,
        content: bytes,
        *,
        before_final_dot: Callable[[], bool],
        then: Claimed | None = None,
    ) -> tuple[Transaction, Report]:
        """Offer a message to the server, on a new session when a kept one turns out stale.

        :param then: the message after it, which may be offered early.
        """
        if self._trial.reply is not None:
            return _simulated(message, self._trial.reply)
        session = self._session
        assert session is not None
        offered = self._offered if session.has_offered else None
        envelope = offered[1] if offered is not None else _envelope(message, content)
        was_kept = session.transactions > 0
        early = self._early(session, then)
        self._offered = (then, early) if then is not None and early is not None else None
        transaction = session.send(envelope, before_final_dot=before_final_dot, then=early)
        if was_kept and _is_stale(transaction):
            self.abort()
            unopened = self._open()
            if unopened is not None:
                return unopened.outcome(message)
            session = self._session
            assert session is not None
            transaction = session.send(envelope, before_final_dot=before_final_dot)
        return transaction, _report(session, transaction)

    def _early(self, session: Session, then: Claimed | None) -> Envelope | None:
        """Return what may be offered together with the end of the message before it."""
        if then is None or then.body is None or not then.recipients:
            return None
        # The message before is the next transaction to be counted.
        if session.transactions + 1 >= self._carrier.messages_per_session:
            return None
        return _envelope(then, then.body)

    def expect(self, message: Claimed) -> None:
        """Have no other message announced to the server than this one, which comes next."""
        if self._offered is not None and self._offered[0] is not message:
            self.take_back_offer()

    def take_back_offer(self) -> None:
        """Have no message announced to the server whose content will not follow."""
        if self._session is not None and self._session.has_offered:
            self.abort()

    def abort(self) -> None:
        """Close the session at once: nobody knows what state it is in."""
        if self._session is not None:
            self._session.abort()
            self._session = None

    def put_back(self, *, is_wanted: bool = True) -> None:
        """Leave the session for whoever comes next; one that does not serve is left to be ended.

        :param is_wanted: whether somebody may come. Otherwise it is left to be ended, too.
        """
        self.take_back_offer()
        session = self._session
        if session is None or self._is_retired:
            return
        number = self._carrier.id
        if is_wanted and self._serves(session) and self._rack.put_back(number, session):
            self._session = None
        else:
            self._rack.retire(number, session)
            self._is_retired = True

    def close(self) -> None:
        """Have no session any more, and say so to the server."""
        self.put_back()
        session, self._session = self._session, None
        if session is not None:
            self._rack.end(session)

    def _serves(self, session: Session) -> bool:
        return session.usable and session.transactions < self._carrier.messages_per_session

    def _open(self) -> Unopened | None:
        session = session_for(self._carrier.driver, self._carrier.endpoint, self._waiter)
        try:
            session.open()
        except SessionError as error:
            session.abort()
            return Unopened(error, session)
        self._session = session
        return None


def _envelope(message: Claimed, content: bytes) -> Envelope:
    return Envelope(
        sender=message.sender,
        recipients=tuple(recipient.address for recipient in message.recipients),
        content=content,
        smtputf8=message.smtputf8,
        eight_bit=message.eight_bit,
    )


def _is_stale(transaction: Transaction) -> bool:
    """Tell whether a kept session turned out to be closed, before anything was accepted."""
    verdict = transaction.verdict
    return (
        verdict.scope is Scope.CONNECTION
        and not transaction.usable
        and not transaction.accepted
        and not transaction.abandoned
        and not (verdict.uncertain or verdict.quota or verdict.opens_breaker)
    )


def _report(session: Session, transaction: Transaction) -> Report:
    return Report(
        stage=transaction.stage,
        reply=transaction.reply,
        seconds=transaction.seconds,
        dialogue=session.dialogue_since(transaction.mark),
        tls=session.tls,
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
