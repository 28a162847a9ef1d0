"""A mail server that has a message and does not say what becomes of it until the test wants it to."""

from __future__ import annotations

import threading

from tests.servers.scripted import Peer, ScriptedServer
from tests.waiting import wait_until


class PatientServer(ScriptedServer):
    """Takes the content of the first message, and answers when it is told to; then at once."""

    def __init__(self) -> None:
        super().__init__()
        self._may_answer = threading.Event()
        self.contents = 0
        """Messages whose content has come as a whole."""

    def __enter__(self) -> PatientServer:
        super().__enter__()
        return self

    def wait(self) -> None:
        """Wait until it has the content of a message, and owes the answer."""
        wait_until(lambda: self.contents, what="a message in flight")

    def answer(self) -> None:
        """Accept it, and from now on every other one at once."""
        self._may_answer.set()

    def _content(self, peer: Peer) -> bytes | None:
        content = super()._content(peer)
        self.contents += 1
        while not (self._may_answer.wait(0.01) or self.stopping.is_set()):
            pass
        return content
