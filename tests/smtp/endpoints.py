"""What the protocol's tests share: endpoints with short time-outs, and a message."""

from __future__ import annotations

from typing import Any

from flask_smtp_admin.smtp import Endpoint, Envelope, Session
from tests.servers.scripted import ScriptedServer

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
