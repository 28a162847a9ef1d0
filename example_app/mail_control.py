"""Telling the local mail server to stop and start.

Owns the other end of its control socket. Must not know SMTP.
"""

from __future__ import annotations

import socket
from pathlib import Path

ANSWER_SECONDS = 5.0
PORT_TAKEN = "taken"
"""The answer to ``start`` when another program listens on the port."""


class MailControl:
    """The switch of the mail server."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self) -> str:
        """Let it listen, and return its state, or :data:`PORT_TAKEN`."""
        return self._ask("start")

    def stop(self) -> str:
        """Let it refuse connections, and return its state."""
        return self._ask("stop")

    def state(self) -> str:
        """Return ``listening``, ``stopped``, or a sentence when its process is away."""
        return self._ask("state")

    def _ask(self, word: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(ANSWER_SECONDS)
                link.connect(str(self._path))
                link.sendall(f"{word}\n".encode("ascii"))
                with link.makefile("r", encoding="ascii") as answer:
                    return answer.readline().strip()
        except OSError:
            return "away"
