"""What was said in a session, kept for people to read.

Owns the lines, their bound, and the secrets that must not be in them. Who writes a secret to the
server notes a blanked line here all the same. Message bytes never come here either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from flask_smtp_admin.smtp.reply import Reply, Stage, blanked
from flask_smtp_admin.smtp.text import escape

MAX_LINES = 400
MAX_LINE_CHARACTERS = 1000

Direction = Literal["C", "S", "*"]


class Line(NamedTuple):
    """One line: milliseconds since the session began, who spoke (client, server, our remark)."""

    at_ms: int
    direction: Direction
    text: str
    stage: Stage


class Dialogue:
    """The last ``MAX_LINES`` lines of a session; older ones are counted, not kept.

    Lines are escaped when they are read, not when they are noted: most are never looked at.
    *secrets*, the longest first, are blanked wherever they are found, whoever says them.
    """

    def __init__(self, clock: Callable[[], float], secrets: Sequence[str] = ()) -> None:
        self._clock = clock
        self._secrets = tuple(secrets)
        self._began = clock()
        self._lines: deque[tuple[float, Direction, str, Stage]] = deque(maxlen=MAX_LINES)
        self._noted = 0

    def note(self, direction: Direction, text: str, stage: Stage) -> None:
        """Keep a line; one too long is cut when it is read."""
        self._keep(self._clock(), direction, text, stage)

    def note_commands(self, commands: Iterable[tuple[str, Stage]]) -> None:
        """Keep lines that are written together."""
        now = self._clock()
        for text, stage in commands:
            self._keep(now, "C", text, stage)

    def note_reply(self, reply: Reply, stage: Stage) -> None:
        """Keep the lines of a reply that is :meth:`without_secrets`."""
        now = self._clock()
        last = len(reply.lines) - 1
        for index, text in enumerate(reply.lines):
            self._keep(now, "S", f"{reply.code}{'-' if index < last else ' '}{text}", stage)

    def _keep(self, now: float, direction: Direction, text: str, stage: Stage) -> None:
        # Before anything is cut off: half a secret would not be found.
        if self._secrets:
            text = blanked(text, self._secrets)
        if len(text) > MAX_LINE_CHARACTERS:
            text = text[: MAX_LINE_CHARACTERS + 1]
        self._lines.append((now, direction, text, stage))
        self._noted += 1

    def hide(self, secret: str) -> None:
        """From now on blank *secret* as well."""
        # The longest first: a short one may be part of a long one and would leave its rest.
        self._secrets = tuple(sorted({secret, *self._secrets}, key=len, reverse=True))

    def without_secrets(self, reply: Reply) -> Reply:
        """*reply* as it may be judged, kept and shown."""
        return reply.without(self._secrets)

    def mark(self) -> int:
        """Where the dialogue stands, to be given to :meth:`since`."""
        return self._noted

    def since(self, mark: int = 0) -> tuple[Line, ...]:
        """The lines noted after *mark*, headed by a remark when some are no longer kept."""
        wanted = self._noted - mark
        kept = list(islice(reversed(self._lines), wanted))[::-1] if wanted > 0 else []
        lines = [self._line(*entry) for entry in kept]
        missing = wanted - len(kept)
        if missing > 0 and lines:
            head = Line(lines[0].at_ms, "*", f"{missing} earlier lines left out", lines[0].stage)
            lines.insert(0, head)
        return tuple(lines)

    def _line(self, at: float, direction: Direction, text: str, stage: Stage) -> Line:
        shown = escape(text)
        if len(shown) > MAX_LINE_CHARACTERS:
            shown = shown[: MAX_LINE_CHARACTERS - 1] + "…"
        return Line(round((at - self._began) * 1000), direction, shown, stage)
