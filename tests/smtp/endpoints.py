"""What the protocol's tests share: endpoints with short time-outs, and a message."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask_smtp_admin.smtp import BLOCKING, Endpoint, Envelope, Session
from tests.servers.scripted import Behaviour, Peer, ScriptedServer

T = TypeVar("T")

CONTENT = b"From: a@example.test\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n..two\r\n"
ALICE: dict[str, Any] = {"use_auth": True, "username": "alice", "password": "s3cret"}


def endpoint(server: ScriptedServer, **changes: Any) -> Endpoint:
    """An endpoint of *server* with time-outs that a silent server reaches soon."""
    values: dict[str, Any] = {
        "host": "localhost",
        "port": server.port,
        "encryption": "none",
        "connect_timeout": 5.0,
        "reply_timeout": 0.4,
        "final_timeout": 0.4,
        "local_hostname": "client.example.test",
    }
    return Endpoint(**(values | changes))


def patient(server: ScriptedServer, **changes: Any) -> Endpoint:
    """An endpoint of *server* whose time-outs a loaded machine does not reach."""
    return endpoint(server, **({"reply_timeout": 30.0, "final_timeout": 30.0} | changes))


class Impatience:
    """A session's clock and waiter: time flies once the server has begun to keep it waiting.

    So a silent server is given up soon, and one that is merely slow, on a loaded machine, is not.
    """

    LOOK_EVERY = 0.05
    SECONDS = 0.3
    """Between the beginning of the wait and the leap."""
    LEAP = 40.0
    """Longer than the time-outs of :func:`patient`."""

    def __init__(self) -> None:
        self._since: float | None = None

    def with_(self, behaviour: Behaviour) -> Behaviour:
        """Return the behaviour, whose beginning is noted."""

        def noted(peer: Peer) -> None:
            self._since = time.monotonic()
            behaviour(peer)

        return noted

    def clock(self) -> float:
        now, since = time.monotonic(), self._since
        return now if since is None or now - since < self.SECONDS else now + self.LEAP

    def until_ready(self, sock: socket.socket, seconds: float, *, to_write: bool) -> bool:
        until = self.clock() + seconds
        while self.clock() < until:
            if BLOCKING.until_ready(sock, self.LOOK_EVERY, to_write=to_write):
                return True
        return False

    def aside(self, act: Callable[[], T]) -> T:
        return act()


# The sessions of the running test; the fixture in conftest.py ends them.
begun: list[Session] = []


def opened(server: ScriptedServer, **changes: Any) -> Session:
    """An open, patient session with *server*, which the test need not close."""
    session = Session(patient(server, **changes))
    begun.append(session)
    session.open()
    return session


def envelope(
    *recipients: str, content: bytes = CONTENT, sender: str = "a@example.test"
) -> Envelope:
    """A message to *recipients*, by default to one."""
    return Envelope(sender, recipients or ("b@example.test",), content)
