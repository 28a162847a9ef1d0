"""Commands and replies over a wire, each noted in the dialogue under its stage.

Owns the link between what is said and what is kept of it. Must not know the order of the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flask_smtp_admin.smtp.dialogue import Dialogue
from flask_smtp_admin.smtp.reply import Reply, Stage
from flask_smtp_admin.smtp.settings import Endpoint
from flask_smtp_admin.smtp.wire import Wire


class Command(NamedTuple):
    """One command line (without CRLF) and the stage at which its reply is judged."""

    stage: Stage
    line: str


class Conversation:
    """A wire, its dialogue, and the time-outs of its endpoint."""

    def __init__(self, wire: Wire, dialogue: Dialogue, endpoint: Endpoint) -> None:
        self.wire = wire
        self.dialogue = dialogue
        self.endpoint = endpoint

    def ask(
        self,
        stage: Stage,
        line: str,
        *,
        shown: str | None = None,
        hide: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Reply:
        """Write one command and read its reply.

        *shown* is kept instead of a line with a secret; each of *hide* is blanked in the reply.
        """
        self.dialogue.note("C", line if shown is None else shown, stage)
        self.wire.write(line.encode() + b"\r\n", timeout or self.endpoint.reply_timeout)
        return self.reply(stage, hide=hide, timeout=timeout)

    def write(self, commands: Sequence[Command]) -> None:
        """Write *commands* at once; their replies are to be read in the same order (RFC 2920)."""
        for command in commands:
            self.dialogue.note("C", command.line, command.stage)
        data = "".join(f"{command.line}\r\n" for command in commands).encode()
        self.wire.write(data, self.endpoint.reply_timeout)

    def reply(
        self, stage: Stage, *, hide: Sequence[str] = (), timeout: float | None = None
    ) -> Reply:
        """The next reply, within the reply time-out unless *timeout* (seconds) says otherwise."""
        reply = self.wire.read_reply(timeout or self.endpoint.reply_timeout)
        if hide:
            reply = reply.without(hide)
        last = len(reply.lines) - 1
        for index, text in enumerate(reply.lines):
            self.dialogue.note("S", f"{reply.code}{'-' if index < last else ' '}{text}", stage)
        return reply

    def remark(self, stage: Stage, text: str) -> None:
        """Keep a remark of ours."""
        self.dialogue.note("*", text, stage)
