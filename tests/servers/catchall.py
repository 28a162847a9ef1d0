"""An SMTP server inside the test's process: takes every message and keeps a journal.

For tests that want to see what arrives, or to say what the server answers. For the protocol's odd
corners there is the scripted server, for what a real server does there is Exim.
"""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers.process import HOST, free_port
from tests.waiting import wait_until

_MESSAGE_ID = re.compile(rb"(?im)^message-id: *(<[^>]+>)")
ACCEPTED = "250 2.0.0 taken"


@dataclass(frozen=True)
class Caught:
    """One message that the server accepted."""

    envelope_from: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message_id(self) -> str:
        """Its Message-ID, with angle brackets."""
        found = _MESSAGE_ID.search(self.content)
        assert found is not None
        return found[1].decode()


class CatchAll:
    """A server on loopback that accepts everything until told otherwise; a context manager.

    The journal outlives :meth:`stop`; :meth:`start` listens on the same port again.

    >>> catchall.answer_recipient("late@example.test", "451 4.7.1 come back later")
    >>> catchall.answer_content("552 5.3.4 too big")
    """

    def __init__(self) -> None:
        self.host = HOST
        self.port = free_port()
        self._messages: list[Caught] = []
        self._offered: list[str] = []
        self._sessions = 0
        self._at_work = self.most_at_work = 0
        self._lock = threading.Lock()
        self._controller: Controller | None = None
        self.forget_answers()

    def __enter__(self) -> CatchAll:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; nothing happens when it does already."""
        if self._controller is None:
            controller = Controller(_Handler(self), hostname=self.host, port=self.port)
            controller.start()
            self._controller = controller

    def stop(self) -> None:
        """Stop listening and cut off open sessions; connections are refused until the next start."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    @property
    def messages(self) -> list[Caught]:
        """The accepted messages, oldest first."""
        with self._lock:
            return list(self._messages)

    @property
    def offered(self) -> list[str]:
        """Every recipient ever offered in RCPT, accepted or not, in order."""
        with self._lock:
            return list(self._offered)

    @property
    def sessions(self) -> int:
        """How many sessions said EHLO or HELO."""
        return self._sessions

    def wait_for(self, count: int) -> list[Caught]:
        """Wait until at least ``count`` messages were accepted and return them all."""
        wait_until(
            lambda: len(self.messages) >= count,
            what=f"{count} messages at the catch-all server",
        )
        return self.messages

    def clear(self) -> None:
        """Empty the journal."""
        with self._lock:
            self._messages.clear()
            self._offered.clear()

    def answer_sender(self, reply: str) -> None:
        """Answer every MAIL with this reply line."""
        self._sender_reply = reply

    def answer_recipient(self, address: str, reply: str) -> None:
        """Answer RCPT for this address with this reply line."""
        self._recipient_replies[address.lower()] = reply

    def answer_content(self, reply: str) -> None:
        """Answer the final dot with this reply line; a 2xx still counts as accepted."""
        self._content_reply = reply

    def answer_after(self, seconds: float) -> None:
        """Take so long over each message, before it is accepted."""
        self._delay = seconds

    async def _take_time(self) -> None:
        """Be at work on a message; :attr:`most_at_work` tells on how many at the same time."""
        self._at_work += 1
        self.most_at_work = max(self.most_at_work, self._at_work)
        try:
            await asyncio.sleep(self._delay)
        finally:
            self._at_work -= 1

    def forget_answers(self) -> None:
        """Accept everything again, at once."""
        self._delay = 0.0
        self._sender_reply = ""
        self._content_reply = ACCEPTED
        self._recipient_replies: dict[str, str] = {}


class _Handler:
    """aiosmtpd's hooks; runs in the controller's thread."""

    def __init__(self, server: CatchAll) -> None:
        self._server = server

    async def handle_EHLO(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        session.host_name = hostname
        with self._server._lock:
            self._server._sessions += 1
        return replies

    async def handle_MAIL(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._server._sender_reply:
            return self._server._sender_reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 ok"

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        with self._server._lock:
            self._server._offered.append(address)
        reply = self._server._recipient_replies.get(address.lower(), "250 2.1.5 ok")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Any
    ) -> str:
        reply = self._server._content_reply
        await self._server._take_time()
        if reply.startswith("2"):
            caught = Caught(
                envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.original_content
            )
            with self._server._lock:
                self._server._messages.append(caught)
        return reply
