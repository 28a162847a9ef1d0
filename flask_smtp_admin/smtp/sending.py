"""One transaction: from MAIL to the reply to the final dot.

Owns the order of a transaction, pipelined or not, and the outcome for each recipient. Must not
know how the session was opened.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from flask_smtp_admin.smtp.conversation import Command, Conversation
from flask_smtp_admin.smtp.failure import Failure, FailureMet, judge_failure
from flask_smtp_admin.smtp.judging import judge
from flask_smtp_admin.smtp.reply import Outcome, Reply, Scope, Stage, Verdict
from flask_smtp_admin.smtp.transaction import Envelope, RecipientResult
from flask_smtp_admin.smtp.wire import PIECE_BYTES

logger = logging.getLogger(__name__)

# Commands written before their replies are read. Few enough that the replies fit into the
# buffers on the way, else both ends would wait for the other to read (RFC 2920 section 3.1).
GROUP_COMMANDS = 100

# Characters kept of the reply to a recipient, and of all of them together; from there on each has
# the short form. Ten thousand recipients must not fill the memory with one server's words.
REPLY_CHARACTERS = 4_000
REPLIES_CHARACTERS = 1_000_000
SHORT_REPLY_CHARACTERS = 200

# What would end the address, or the command, within <>; a quoted local part may hold a space.
_NOT_IN_PATH = re.compile("[\x00-\x1f\x7f-\x9f<>\u2028\u2029]")
# RFC 1870 section 4: up to 20 digits. A number of thousands of them would be an error to read.
_SIZE = re.compile("[0-9]{1,20}")
_OUT_OF_STEP = judge_failure(Stage.MAIL, Failure.NONSENSE)

_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class Sending:
    """A transaction in progress; :meth:`run` or :meth:`rehearse` once, then read the outcome.

    ``verdict`` is None until it is decided. ``in_step`` says that the session is in a state in
    which the next command means what we mean by it. ``offered``: its commands up to DATA have been
    written, together with the end of the message before.
    """

    def __init__(
        self,
        talk: Conversation,
        extensions: Mapping[str, str],
        envelope: Envelope,
        *,
        pipelining: bool,
    ) -> None:
        self._talk = talk
        self._extensions = extensions
        self._envelope = envelope
        self._pipelining = pipelining
        self._dot_written = False
        self._caller_raised = False
        self._then: Sending | None = None
        self._results: dict[int, RecipientResult] = {}
        self._kept_characters = 0
        self.offered = False
        self.before_final_dot: Callable[[], bool] | None = None
        self.stage = Stage.MAIL
        self.reply: Reply | None = None
        self.verdict: Verdict | None = None
        self.abandoned = False
        self.in_step = True

    # ------------------------------------------------------------- the two ways through

    def run(self, then: Sending | None = None) -> None:
        """Send the message. Server trouble ends up in ``verdict``, never in an exception.

        *then* is offered in the same write as the final dot, which RFC 2920 section 3.1 allows.
        """
        self._then = then
        try:
            if not self.offered and self._greeted_by_words():
                return
            self._negotiate(self._commands)
        except FailureMet as met:
            self._lost(met)
        except Exception as error:
            if self._caller_raised:
                raise
            logger.exception("The session stumbled at %s.", self.stage.label)
            self._lost(FailureMet(Failure.STUMBLED, repr(error)))

    def rehearse(self) -> None:
        """Everything but the message: up to DATA, then hang up; RSET after an earlier refusal.

        Without the final dot nothing is delivered: a server whose client goes away has to forget
        what it was given (RFC 5321 section 4.1.1.10).
        """
        try:
            for command in self._mail_and_recipients():
                self._take(command, self._talk.ask(command.stage, command.line))
                if self.verdict is not None:
                    break
            if self.verdict is not None or not self._any_recipient_accepted():
                self._give_up()
            else:
                self._reach_data()
        except FailureMet as met:
            self._lost(met)
        except Exception as error:
            logger.exception("The session stumbled at %s.", self.stage.label)
            self._lost(FailureMet(Failure.STUMBLED, repr(error)))

    def _give_up(self) -> None:
        if self.verdict is None:
            self._decide_on_recipients()
        self._rset()

    def _reach_data(self) -> None:
        self.stage = Stage.DATA
        reply = self._talk.ask(Stage.DATA, "DATA")
        self._decide(judge(Stage.DATA, reply), reply)
        if self.verdict is not None and self.verdict.accepted:
            self._talk.remark(Stage.DATA, "hung up here: nothing of a message was sent")
            self.in_step = False
        else:
            self._rset()

    # ------------------------------------------------------------- commands

    def can_be_offered(self) -> bool:
        """Whether the commands up to DATA fit into one write."""
        return self._pipelining and len(self._envelope.recipients) + 2 <= GROUP_COMMANDS

    def is_for(self, envelope: Envelope) -> bool:
        """Whether this is the transaction of *envelope*."""
        return self._envelope == envelope

    def offer(self) -> bytes:
        """What to write to have it offered; :meth:`run` then begins with reading the replies."""
        self.offered = True
        return _wire_form(self._commands)

    @cached_property
    def _commands(self) -> list[Command]:
        return [*self._mail_and_recipients(), Command(Stage.DATA, "DATA")]

    def _mail_and_recipients(self) -> Iterator[Command]:
        envelope = self._envelope
        parameters = ""
        if "SIZE" in self._extensions:
            parameters += f" SIZE={len(envelope.content)}"
        # Eight-bit content goes out as it is even when 8BITMIME is not offered: servers pass it on
        # in practice, and to encode it again would change the frozen bytes between attempts.
        if envelope.eight_bit and "8BITMIME" in self._extensions:
            parameters += " BODY=8BITMIME"
        if needs_smtputf8(envelope):
            parameters += " SMTPUTF8"
        yield Command(Stage.MAIL, f"MAIL FROM:<{envelope.sender}>{parameters}")
        for address in envelope.recipients:
            yield Command(Stage.RCPT, f"RCPT TO:<{address}>")

    def _groups(self, commands: list[Command]) -> Iterator[list[Command]]:
        size = GROUP_COMMANDS if self._pipelining else 1
        for start in range(0, len(commands), size):
            yield commands[start : start + size]

    # ------------------------------------------------------------- up to the reply to DATA

    def _greeted_by_words(self) -> bool:
        """Whether the server spoke before it was asked: "421 idle too long", or out of step."""
        if not self._talk.wire.interrupted():
            return False
        reply = self._talk.arrived_reply(Stage.MAIL)
        if reply is None:
            raise FailureMet(Failure.CLOSED)
        self.in_step = False
        leaving = reply.code == 421
        verdict = judge(Stage.MAIL, reply) if leaving else _OUT_OF_STEP
        self._decide(verdict, reply)
        return True

    def _negotiate(self, commands: list[Command]) -> None:
        for group in self._groups(commands):
            if group[0].stage is Stage.DATA and not self._any_recipient_accepted():
                break  # not pipelined: there is nobody to send it to
            if self._exchange(group):
                return
        if self.verdict is None:
            self._decide_on_recipients()
        self._rset()

    def _exchange(self, group: list[Command]) -> bool:
        """Write *group* and read its replies; True when the transaction has come to its end."""
        if self.offered:
            self._talk.note(group)
        else:
            self._talk.write(group, _wire_form(group))
        for command in group:
            self.stage = command.stage
            reply = self._talk.reply(command.stage)
            if command.stage is Stage.DATA:
                return self._take_data(reply)
            self._take(command, reply)
            if self.verdict is not None and self.verdict.reconnect:
                self.in_step = False
                return True
        # A refused MAIL is the end, once the replies to what was written with it have been read.
        return False if self.verdict is None else self._end_without_data()

    def _end_without_data(self) -> bool:
        self._rset()
        return True

    def _take(self, command: Command, reply: Reply) -> None:
        """Note the reply to MAIL or RCPT."""
        verdict = judge(command.stage, reply)
        self.stage = command.stage
        if command.stage is Stage.MAIL:
            if not verdict.accepted:
                self._decide(verdict, reply)
            return
        index = len(self._results)
        kept = self._shortened(reply)
        self._results[index] = RecipientResult(self._envelope.recipients[index], verdict, kept)
        if verdict.reconnect:
            self._decide(verdict, reply)

    def _shortened(self, reply: Reply) -> Reply:
        plenty = self._kept_characters < REPLIES_CHARACTERS
        kept = reply.shortened(REPLY_CHARACTERS if plenty else SHORT_REPLY_CHARACTERS)
        self._kept_characters += sum(map(len, kept.lines))
        return kept

    def _take_data(self, reply: Reply) -> bool:
        verdict = judge(Stage.DATA, reply)
        ready = verdict.accepted
        if self.verdict is not None:  # MAIL was refused, in the same pipeline
            # The server wants a message for a transaction that it has refused: get out of there.
            self.in_step = not (ready or verdict.reconnect)
            return True
        if not self._any_recipient_accepted():
            self._decide_on_recipients()
            if ready:
                self._send_empty_message()
            else:
                self._rset()
            return True
        if ready:
            self._send_content()
            return True
        self._decide(verdict, reply)
        if verdict.reconnect:
            self.in_step = False
        else:
            self._rset()
        return True

    def _send_empty_message(self) -> None:
        # RFC 2920 section 3.1: 354 though no recipient was accepted; the lone dot is refused, and
        # nothing could be delivered with it as there is nobody to deliver to.
        self._talk.remark(Stage.BODY, "no recipient was accepted: nothing but the final dot")
        try:
            self._talk.ask(Stage.BODY, ".")
        except FailureMet:
            self.in_step = False

    # ------------------------------------------------------------- the message

    def _send_content(self) -> None:
        self.stage = Stage.BODY
        content = dot_stuffed(self._envelope.content)
        last = max(0, len(content) - 1) // PIECE_BYTES * PIECE_BYTES
        try:
            if last:
                self._talk.wire.write(content[:last], self._talk.endpoint.reply_timeout)
            if not self._may_finish():
                return
            is_whole = self._finish(content[last:] + b".\r\n")
        except FailureMet:
            # A server that goes away in the middle has often said why.
            if self._take_early_reply():
                return
            raise
        self._talk.dialogue.note(
            "C", f"… {len(self._envelope.content):,} bytes of message and the final dot", Stage.BODY
        )
        # Cut off by the deadline now, a server that takes the message would get it again.
        self._talk.wire.outlast(self._talk.endpoint.final_timeout)
        reply = self._talk.reply(Stage.BODY, timeout=self._talk.endpoint.final_timeout)
        verdict = judge(Stage.BODY, reply)
        self._decide(verdict, reply)
        # Something after the reply is a reply to nothing: every later one would be off by one.
        unasked = self._then is None and self._talk.wire.buffered
        self.in_step = is_whole and not (verdict.reconnect or unasked)

    def _finish(self, rest: bytes) -> bool:
        """Write the end of the message and what follows it; ``False``: the latter not wholly."""
        following = self._then.offer() if self._then is not None else b""
        wire = self._talk.wire
        dot_at = wire.written + len(rest)
        try:
            wire.write(rest + following, self._talk.endpoint.reply_timeout)
        except FailureMet:
            self._dot_written = wire.written >= dot_at
            # The server has the message then, and its reply is the one that counts.
            if not self._dot_written:
                raise
            return False
        self._dot_written = True
        return True

    def _may_finish(self) -> bool:
        """Whether to write the dot: the server is still listening, and the caller still wants it."""
        if self._talk.wire.interrupted():
            if not self._take_early_reply():
                raise FailureMet(Failure.CLOSED)
            return False
        if not self._wanted():
            self.abandoned = True
            self.in_step = False
            self._decide(judge_failure(Stage.BODY, Failure.ABANDONED), None)
            self._talk.remark(Stage.BODY, "given up before the final dot")
            return False
        return True

    def _wanted(self) -> bool:
        if self.before_final_dot is None:
            return True
        self._caller_raised = True
        wanted = self.before_final_dot()
        self._caller_raised = False
        return wanted

    def _take_early_reply(self) -> bool:
        """Take a refusal that came before the dot was written. Nothing was accepted then."""
        reply = self._talk.arrived_reply(Stage.BODY)
        if reply is None:
            return False
        self.in_step = False
        if reply.first_digit in {4, 5}:
            self._decide(judge(Stage.BODY, reply), reply)
        else:  # an acceptance of what was not sent yet is out of step, not an acceptance
            self._decide(judge_failure(Stage.BODY, Failure.NONSENSE), reply)
        return True

    # ------------------------------------------------------------- the outcome

    def recipients(self) -> tuple[RecipientResult, ...]:
        """The outcome for each recipient, in the order of the envelope."""
        overall = self.verdict
        assert overall is not None
        results = []
        for index, address in enumerate(self._envelope.recipients):
            own = self._results.get(index)
            # After a refused MAIL the replies to RCPT are mere echoes ("503 need MAIL first").
            echo = overall.stage is Stage.MAIL
            if own is not None and not own.accepted and not echo:
                results.append(own)
            else:
                results.append(RecipientResult(address, overall, self.reply))
        return tuple(results)

    def _any_recipient_accepted(self) -> bool:
        return any(result.accepted for result in self._results.values())

    def _decide(self, verdict: Verdict, reply: Reply | None) -> None:
        self.verdict, self.reply = verdict, reply

    def _decide_on_recipients(self) -> None:
        """No message goes out: the recipients' verdicts are all that there is to tell."""
        results = list(self._results.values())
        decisive = min(results, key=lambda result: _weight(result.verdict))
        self._decide(decisive.verdict, decisive.reply)

    def _lost(self, met: FailureMet) -> None:
        """The link failed: unless everything was decided before, that is the outcome."""
        self.in_step = False
        if self.verdict is None:
            verdict = judge_failure(self.stage, met.failure, dot_written=self._dot_written)
            self._decide(verdict, None)
        self._talk.remark(self.stage, met.remark or met.failure.value)

    def _rset(self) -> None:
        try:
            self.in_step = self._talk.ask(Stage.QUIT, "RSET").first_digit == 2
        except FailureMet:
            self.in_step = False


def _weight(verdict: Verdict) -> tuple[bool, bool, bool]:
    """Accepted first, then what is about the connection, then what is worth another try."""
    return (
        not verdict.accepted,
        verdict.scope is not Scope.CONNECTION,
        verdict.outcome is not Outcome.TEMPORARY,
    )


# ----------------------------------------------------------------- before anything is written


def unsendable(envelope: Envelope, extensions: Mapping[str, str]) -> Failure | None:
    """Why *envelope* cannot be sent over a session with *extensions*, without asking the server."""
    addresses = (envelope.sender, *envelope.recipients)
    if not envelope.recipients or any(map(_NOT_IN_PATH.search, addresses)):
        return Failure.BAD_ENVELOPE
    if "" in envelope.recipients:
        return Failure.BAD_ENVELOPE
    if needs_smtputf8(envelope) and "SMTPUTF8" not in extensions:
        return Failure.SMTPUTF8_NOT_OFFERED
    limit = extensions.get("SIZE", "")
    # RFC 1870 section 4: no number, or 0, is no fixed limit.
    if _SIZE.fullmatch(limit) and 0 < int(limit) < len(envelope.content):
        return Failure.MESSAGE_TOO_LARGE
    return None


def _wire_form(commands: list[Command]) -> bytes:
    return "".join(f"{command.line}\r\n" for command in commands).encode()


def needs_smtputf8(envelope: Envelope) -> bool:
    """Whether RFC 6531 is needed: asked for, or an address is not ASCII."""
    return envelope.smtputf8 or not (
        envelope.sender.isascii() and all(map(str.isascii, envelope.recipients))
    )


def dot_stuffed(content: bytes) -> bytes:
    """*content* as it is written after DATA, without the final dot (RFC 5321 section 4.5.2).

    Bare CR and LF become CRLF: some servers take them for line ends and would see another message
    in what follows ("SMTP smuggling").
    """
    pairs = content.count(b"\r\n")
    if content.count(b"\n") != pairs or content.count(b"\r") != pairs:
        content = _BARE_LINE_END.sub(b"\r\n", content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
