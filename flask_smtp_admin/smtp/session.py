"""One SMTP session: opening it step by step, and sending messages over it.

Owns the order of the protocol up to the login, and the life of the session. Must know neither
database nor Flask, and nothing of retries: it reports what happened, once.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from flask_smtp_admin.smtp import auth, dialer
from flask_smtp_admin.smtp.conversation import Conversation
from flask_smtp_admin.smtp.dialogue import Dialogue, Line
from flask_smtp_admin.smtp.failure import Failure, FailureMet, judge_failure
from flask_smtp_admin.smtp.judging import judge
from flask_smtp_admin.smtp.reply import Reply, Stage
from flask_smtp_admin.smtp.sending import Sending, unsendable
from flask_smtp_admin.smtp.settings import Endpoint
from flask_smtp_admin.smtp.tls import TlsFacts
from flask_smtp_admin.smtp.transaction import (
    Envelope,
    RecipientResult,
    SessionError,
    Transaction,
)
from flask_smtp_admin.smtp.waiting import BLOCKING, Waiter
from flask_smtp_admin.smtp.wire import Wire

logger = logging.getLogger(__name__)

# Seconds that a good-bye may take; nothing depends on it any more.
QUIT_TIMEOUT = 5.0


class _Refused(Exception):
    """A reply that ends the opening."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        super().__init__(str(reply))
        self.stage = stage
        self.reply = reply


class Session:
    """A session with one server; not thread-safe.

    :meth:`open` raises :class:`SessionError` for whatever prevents a session. :meth:`send` never
    raises for a server's doings: the outcome is a value.

    * ``extensions``: of the last EHLO, keyword in upper case: parameters.
    * ``mechanism``: the AUTH mechanism used. ``tls``: what the handshake agreed on.
    * ``transactions``: how many were begun.

    *clock* reads seconds that only grow. *pipelining* False writes command by command even when
    the server offers PIPELINING, so that each stage has a time of its own. *waiter*: how to wait.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Callable[[], float] = time.monotonic,
        *,
        pipelining: bool = True,
        waiter: Waiter = BLOCKING,
    ) -> None:
        self.endpoint = endpoint
        self.transactions = 0
        self.extensions: dict[str, str] = {}
        self.tls: TlsFacts | None = None
        self.mechanism: str | None = None
        self.greeting: Reply | None = None
        self._clock = clock
        self._pipelining = pipelining
        self._waiter = waiter
        self._deadline = clock() + endpoint.session_deadline
        self._dialogue = Dialogue(clock, auth.secrets_of(endpoint.username, endpoint.password))
        self._targets: tuple[dialer.Target, ...] = ()
        self._wire: Wire | None = None
        self._conversation: Conversation | None = None
        self._ahead: Sending | None = None
        self._stage = Stage.RESOLVE
        self._to_do = self._plan()

    # ------------------------------------------------------------- opening

    def open(self, until: Stage | None = None) -> None:
        """Go on to stage *until*, itself included, or until messages can be sent.

        May be called again to go on from there. A stage that this endpoint does not have (TLS
        without encryption, say) means the end.

        :raises SessionError: for whatever prevents the session; it is closed then.
        """
        try:
            while self._to_do:
                stage, step = self._to_do[0]
                self._stage = stage
                step()
                self._to_do.pop(0)
                if stage is until:
                    return
        except FailureMet as met:
            raise self._failed(met) from met
        except _Refused as refused:
            self.abort()
            verdict = judge(refused.stage, refused.reply)
            raise SessionError(refused.stage, verdict, refused.reply) from None
        except Exception as error:
            logger.exception("The session stumbled at %s.", self._stage.label)
            raise self._failed(FailureMet(Failure.STUMBLED, repr(error))) from error
        except BaseException:
            self.abort()
            raise

    def stages(self) -> tuple[Stage, ...]:
        """The stages of opening that are still to come."""
        return tuple(stage for stage, _ in self._to_do)

    def _plan(self) -> list[tuple[Stage, Callable[[], None]]]:
        plan: list[tuple[Stage, Callable[[], None]]] = [
            (Stage.RESOLVE, self._resolve),
            (Stage.CONNECT, self._connect),
        ]
        if self.endpoint.encryption == "implicit":
            plan.append((Stage.TLS, self._shake_hands))
        plan += [(Stage.GREETING, self._read_greeting), (Stage.EHLO, self._ehlo)]
        if self.endpoint.encryption == "starttls":
            plan.append((Stage.TLS, self._start_tls))
        if self.endpoint.use_auth:
            plan.append((Stage.AUTH, self._log_in))
        return plan

    def _failed(self, met: FailureMet) -> SessionError:
        if met.remark:
            self._remark(met.remark)
        self.abort()
        verdict = judge_failure(self._stage, met.failure)
        return SessionError(self._stage, verdict, cause=met.__cause__ or met, failure=met.failure)

    def _resolve(self) -> None:
        self._deadline = self._clock() + self.endpoint.session_deadline
        endpoint = self.endpoint
        self._targets = self._waiter.aside(
            lambda: dialer.resolve(
                endpoint.host, endpoint.port, allow_private=endpoint.allow_private
            )
        )
        addresses = ", ".join(target.address for target in self._targets)
        found = "an address already" if addresses == endpoint.host else addresses
        self._remark(f"{endpoint.host} is {found}")

    def _connect(self) -> None:
        sock = dialer.connect(
            self._targets,
            timeout=self.endpoint.connect_timeout,
            clock=self._clock,
            note=self._remark,
            waiter=self._waiter,
        )
        self._wire = Wire(sock, self._clock, self._deadline, self._waiter)
        self._conversation = Conversation(self._wire, self._dialogue, self.endpoint)

    def _read_greeting(self) -> None:
        self.greeting = self._expect(self._talk.reply(Stage.GREETING))

    def _ehlo(self) -> None:
        # Also called in the middle of the TLS stage: whatever fails here fails at EHLO.
        self._stage = Stage.EHLO
        name = self._own_name()
        reply = self._talk.ask(Stage.EHLO, f"EHLO {name}")
        if reply.code in {500, 502, 504}:  # RFC 5321 section 3.2: an old server wants HELO
            self._expect(self._talk.ask(Stage.EHLO, f"HELO {name}"))
            self.extensions = {}
            return
        self._expect(reply)
        self.extensions = _extensions(reply.lines[1:])

    def _own_name(self) -> str:
        configured = self.endpoint.local_hostname
        if configured:
            return dialer.ascii_host(configured)
        name = socket.gethostname()
        if "." in name and name.isascii() and not name.lower().startswith("localhost"):
            return name
        # RFC 5321 section 4.1.3: without a proper name, the address.
        address = self._talk.wire.local_address.partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    def _start_tls(self) -> None:
        if "STARTTLS" not in self.extensions:
            raise FailureMet(Failure.STARTTLS_NOT_OFFERED)
        self._expect(self._talk.ask(Stage.TLS, "STARTTLS"))
        self._shake_hands()
        # RFC 3207 section 4.2: what was said before TLS counts no more.
        self.extensions = {}
        self._ehlo()

    def _shake_hands(self) -> None:
        endpoint = self.endpoint
        self.tls = self._talk.wire.start_tls(
            endpoint.ca_certificate,
            dialer.ascii_host(endpoint.host),
            endpoint.reply_timeout,
            implicit=endpoint.encryption == "implicit",
        )
        self._remark(str(self.tls))

    def _log_in(self) -> None:
        endpoint = self.endpoint
        offered = auth.offered_mechanisms(self.extensions)
        mechanism = auth.choose(endpoint, offered, encrypted=self._talk.wire.encrypted)
        self.mechanism = mechanism
        turns = auth.exchange(mechanism, endpoint.username, endpoint.password)
        say = next(turns)
        while True:
            reply = self._talk.ask(Stage.AUTH, say.data, shown=say.shown)
            if reply.code != 334:
                break
            if mechanism == "XOAUTH2":
                self._remark(auth.decoded_error(self._talk.challenge))
            try:
                say = turns.send(self._talk.challenge)
            except StopIteration:
                raise FailureMet(Failure.NONSENSE, "one challenge too many") from None
        self._expect(reply, stage=Stage.AUTH)

    def _expect(self, reply: Reply, *, stage: Stage | None = None) -> Reply:
        stage = stage or self._stage
        if not judge(stage, reply).accepted:
            raise _Refused(stage, reply)
        return reply

    # ------------------------------------------------------------- transactions

    def send(
        self,
        envelope: Envelope,
        *,
        before_final_dot: Callable[[], bool] | None = None,
        then: Envelope | None = None,
    ) -> Transaction:
        """Send one message and say what became of it, for each recipient.

        *before_final_dot* is called once, right before the final dot would be written; when it
        answers False the dot is not written, the session is closed and nothing was accepted.

        *then* is the message of the next call, if it is known: where the server takes commands
        together (RFC 2920), it is offered in the same write as the end of this one, which saves
        its round trip. Nothing of its content is sent before that call.

        :raises RuntimeError: when the session is not open, or was told of another message.
        """
        sending, self._ahead = self._ahead, None
        if sending is None:
            sending = self._sending(envelope)
        elif not sending.is_for(envelope):
            self.abort()
            raise RuntimeError("Another message has been offered to the server already.")
        sending.before_final_dot = before_final_dot
        following = self._following(then)
        transaction = self._transact(envelope, sending, lambda: sending.run(following))
        if following is not None and following.offered and self._wire is not None:
            self._ahead = following
        return transaction

    @property
    def has_offered(self) -> bool:
        """Whether the server waits for the content of a message that was announced by ``then``."""
        return self._ahead is not None

    def _following(self, envelope: Envelope | None) -> Sending | None:
        """The transaction to be offered early, where that may be done."""
        if envelope is None or unsendable(envelope, self.extensions) is not None:
            return None
        following = self._sending(envelope)
        return following if following.can_be_offered() else None

    def rehearse(self, envelope: Envelope) -> Transaction:
        """MAIL, RCPT and DATA: what the server would say, without sending.

        A server that is ready for the message leaves the session closed, since there is no other
        way back. ``accepted`` means that it was; the content only counts by its size.
        """
        sending = self._sending(envelope)
        return self._transact(envelope, sending, sending.rehearse)

    def _sending(self, envelope: Envelope) -> Sending:
        if self._to_do:
            raise RuntimeError("The session is not open: call open() first.")
        return Sending(
            self._talk,
            self.extensions,
            envelope,
            pipelining=self._pipelining and "PIPELINING" in self.extensions,
        )

    def _transact(
        self, envelope: Envelope, sending: Sending, way: Callable[[], None]
    ) -> Transaction:
        started, mark = self._clock(), self._dialogue.mark()
        # What has been offered was looked at before.
        failure = None if sending.offered else unsendable(envelope, self.extensions)
        if failure is not None:
            return self._unsent(envelope, failure, started, mark)
        self.transactions += 1
        try:
            way()
        except BaseException:
            # Raised by before_final_dot or by a signal: the server must not get the rest.
            self.abort()
            raise
        if not sending.in_step:
            self.abort()
        assert sending.verdict is not None
        recipients = sending.recipients()
        return Transaction(
            stage=sending.verdict.stage,
            reply=sending.reply,
            verdict=sending.verdict,
            recipients=recipients,
            accepted=any(result.accepted for result in recipients),
            usable=self.usable,
            started=started,
            seconds=self._clock() - started,
            mark=mark,
            abandoned=sending.abandoned,
        )

    def _unsent(
        self, envelope: Envelope, failure: Failure, started: float, mark: int
    ) -> Transaction:
        """The outcome of a message that this server cannot take, found without asking it."""
        verdict = judge_failure(Stage.MAIL, failure)
        self._dialogue.note("*", verdict.summary, Stage.MAIL)
        return Transaction(
            stage=Stage.MAIL,
            reply=None,
            verdict=verdict,
            recipients=tuple(RecipientResult(a, verdict) for a in envelope.recipients),
            accepted=False,
            usable=self.usable,
            started=started,
            seconds=self._clock() - started,
            mark=mark,
        )

    # ------------------------------------------------------------- the rest of its life

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried: open, in step, and time enough is left."""
        if self._wire is None or self._to_do:
            return False
        # A message begun shortly before the deadline would be cut off before its end.
        endpoint = self.endpoint
        reserve = min(endpoint.final_timeout, endpoint.session_deadline / 4)
        return self._deadline - self._clock() > reserve

    def mark(self) -> int:
        """Where the dialogue stands, for :meth:`dialogue_since`."""
        return self._dialogue.mark()

    def dialogue_since(self, mark: int = 0) -> tuple[Line, ...]:
        """What was said after *mark*; secrets and message bytes are not in it."""
        return self._dialogue.since(mark)

    def reset(self) -> None:
        """RSET; a failure makes the session unusable and changes nothing else."""
        if self._left_waiting():
            return
        try:
            if self._talk.ask(Stage.QUIT, "RSET").first_digit != 2:
                self.abort()
        except FailureMet:
            self.abort()

    def quit(self) -> None:
        """Say QUIT and close. Never raises: what was accepted stays accepted."""
        if self._left_waiting():
            return
        try:
            self._talk.ask(
                Stage.QUIT, "QUIT", timeout=min(QUIT_TIMEOUT, self.endpoint.reply_timeout)
            )
        except FailureMet as met:
            self._dialogue.note("*", met.remark or met.failure.value, Stage.QUIT)
        finally:
            self.abort()

    def _left_waiting(self) -> bool:
        """Close at once when the server waits for a content: any word of ours would become it."""
        if self._ahead is not None:
            self.abort()
        return self._wire is None

    def abort(self) -> None:
        """Close at once, without a word. Never raises."""
        self._ahead = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    @property
    def _talk(self) -> Conversation:
        if self._conversation is None or self._wire is None:
            raise RuntimeError("The session is closed.")
        return self._conversation

    def _remark(self, text: str) -> None:
        self._dialogue.note("*", text, self._stage)


def _extensions(lines: tuple[str, ...]) -> dict[str, str]:
    """Keyword: parameters. ``AUTH=`` is how servers wrote it before RFC 2554."""
    found: dict[str, str] = {}
    for line in lines:
        keyword, _, parameters = line.strip().partition(" ")
        if keyword.upper().startswith("AUTH="):
            parameters = f"{found.get('AUTH', '')} {keyword[5:]} {parameters}"
            keyword = "AUTH"
        elif keyword.upper() == "AUTH" and "AUTH" in found:
            parameters = f"{found['AUTH']} {parameters}"
        if keyword:
            found[keyword.upper()] = parameters.strip()
    return found
