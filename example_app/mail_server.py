"""The local mail server: takes every message, sends none on, and keeps what it took.

Owns the SMTP side of the example and the folder of received messages. Run as a process of its own
(``python -m example_app.mail_server``), told over a Unix socket to stop and start listening, so
that an administrator can see what happens to messages meanwhile. Must not know the shop.

``nosuch@…`` is refused for good (550), ``defer@…`` put off (451); all others are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from email.utils import formatdate
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from .folder import write_whole
from .mail_control import PORT_TAKEN

HOST = "127.0.0.1"
HOST_NAME = "mail.example.org"
REFUSED, DEFERRED = "nosuch", "defer"
KEPT = 2000
"""So many messages are kept; the oldest make room."""
LARGEST = 64 * 1024 * 1024
"""Bytes; above what the outbox takes."""

_numbers = itertools.count()


class Letterbox:
    """aiosmtpd's handler: judges recipients and files what arrives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = sum(1 for _ in folder.glob("*.eml"))

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer RCPT by the local part."""
        local_part = address.rpartition("@")[0].lower()
        if local_part == REFUSED:
            return "550 5.1.1 There is no mailbox of that name here"
        if local_part == DEFERRED:
            return "451 4.7.1 Greylisted, please come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """File the message with its envelope in front, as a mail server does."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(_numbers)}"
        head = (
            f"Return-Path: <{envelope.mail_from or ''}>\r\n"
            f"Delivered-To: {', '.join(envelope.rcpt_tos)}\r\n"
            f"Received: from {session.host_name} by {HOST_NAME}; {formatdate(localtime=False)}\r\n"
        )
        content = envelope.original_content or b""
        write_whole(self._folder / f"{name}.eml", head.encode("utf-8") + content)
        self._count += 1
        if self._count > KEPT:
            self._make_room()
        return f"250 2.0.0 Taken as {time.time_ns() // 1000:X}"

    def _make_room(self) -> None:
        names = sorted(self._folder.glob("*.eml"))
        for old in names[: max(0, len(names) - KEPT)]:
            old.unlink(missing_ok=True)
        self._count = min(len(names), KEPT)


class _Protocol(SMTP):
    """One session, which enters itself where it can be cut."""

    def __init__(self, handler: Letterbox, sessions: set[asyncio.BaseTransport]) -> None:
        super().__init__(
            handler,
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname=HOST_NAME,
            ident="ESMTP",
        )
        self._sessions = sessions
        self._link: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the session."""
        self._link = transport
        self._sessions.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        if self._link is not None:
            self._sessions.discard(self._link)
        super().connection_lost(error)


class MailServer:
    """The listening socket, which opens and closes on demand."""

    def __init__(self, folder: Path) -> None:
        self._handler = Letterbox(folder)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.BaseTransport] = set()

    async def open_first_free(self, ports: list[int]) -> None:
        """Listen on the first of the ports that nobody has.

        :raises OSError: all are taken.
        """
        for port in ports:
            self.port = port
            with contextlib.suppress(OSError):
                await self.start()
                return
        raise OSError("There is no free port for the mail server.")

    async def start(self) -> str:
        """Listen, and return the new state."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._protocol, HOST, self.port)
        return self.state()

    async def stop(self) -> str:
        """Refuse connections and cut open sessions, as a machine that goes down does."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for transport in list(self._sessions):
                assert isinstance(transport, asyncio.Transport)
                transport.abort()
        return self.state()

    def state(self) -> str:
        """Return ``listening`` or ``stopped``."""
        return "stopped" if self._server is None else "listening"

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what one line on the control socket asks, and answer with the state."""
        word = (await reader.readline()).decode("ascii", "replace").strip()
        try:
            if word == "start":
                answer = await self.start()
            elif word == "stop":
                answer = await self.stop()
            else:
                answer = self.state()
        except OSError as error:
            print(f"Port {self.port} cannot be listened on: {error}", file=sys.stderr, flush=True)
            answer = PORT_TAKEN
        writer.write(f"{answer}\n".encode())
        await writer.drain()
        writer.close()

    def _protocol(self) -> _Protocol:
        return _Protocol(self._handler, self._sessions)


async def listen_for_orders(server: MailServer, control: Path) -> asyncio.Server:
    """Open the control socket, for this user alone."""
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(server.obey, control)
    finally:
        os.umask(before)


async def serve(folder: Path, ports: list[int], control: Path, ready: int) -> None:
    """Serve until SIGTERM or SIGINT, on the first of the ports that is free.

    :param ready: a file descriptor that hears which one that is.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = MailServer(folder)
    await server.open_first_free(ports)
    orders = await listen_for_orders(server, control)
    os.write(ready, str(server.port).encode("ascii"))
    os.close(ready)
    await ended.wait()
    orders.close()
    await server.stop()


if __name__ == "__main__":
    mail_folder, control_socket, ready_descriptor, *candidates = sys.argv[1:]
    Path(control_socket).unlink(missing_ok=True)  # of a process that was killed
    asyncio.run(
        serve(
            Path(mail_folder),
            list(map(int, candidates)),
            Path(control_socket),
            int(ready_descriptor),
        )
    )
