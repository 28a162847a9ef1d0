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
    """A wire, its dialogue, and the time-outs of its endpoint.

    Secrets are blanked in every reply that leaves here.
    """

    def __init__(self, wire: Wire, dialogue: Dialogue, endpoint: Endpoint) -> None:
        self.wire = wire
        self.dialogue = dialogue
        self.endpoint = endpoint
        self._last: Reply | None = None

    @property
    def challenge(self) -> str:
        """The text of the last reply as it came: for decoding, never to be kept or shown."""
        # A blanked base64 text cannot be decoded any more; what is made of it is blanked later.
        return "" if self._last is None else self._last.text

    def ask(
        self,
        stage: Stage,
        line: str,
        *,
        shown: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Write one command and read its reply.

        *shown* is kept instead of a line with a secret, which is blanked from now on.
        """
        shown = line if shown is None else shown
        if shown != line:
            self.dialogue.hide(line.rsplit(" ", maxsplit=1)[-1])
        self.dialogue.note("C", shown, stage)
        self.wire.write(line.encode() + b"\r\n", timeout or self.endpoint.reply_timeout)
        return self.reply(stage, timeout=timeout)

    def write(self, commands: Sequence[Command], data: bytes) -> None:
        """Write *commands* at once, as *data*; their replies come in the same order (RFC 2920)."""
        self.note(commands)
        self.wire.write(data, self.endpoint.reply_timeout)

    def note(self, commands: Sequence[Command]) -> None:
        """Keep *commands*, which are being written or have been."""
        self.dialogue.note_commands((command.line, command.stage) for command in commands)

    def reply(self, stage: Stage, *, timeout: float | None = None) -> Reply:
        """The next reply, within the reply time-out unless *timeout* (seconds) says otherwise."""
        self._last = self.wire.read_reply(timeout or self.endpoint.reply_timeout)
        reply = self.dialogue.without_secrets(self._last)
        self.dialogue.note_reply(reply, stage)
        return reply

    def arrived_reply(self, stage: Stage) -> Reply | None:
        """A whole reply that is here without having been waited for, or None."""
        reply = self.wire.arrived_reply()
        if reply is None:
            return None
        reply = self.dialogue.without_secrets(reply)
        self.dialogue.note("S", str(reply), stage)
        return reply

    def remark(self, stage: Stage, text: str) -> None:
        """Keep a remark of ours."""
        self.dialogue.note("*", text, stage)
