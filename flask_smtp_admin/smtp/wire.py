"""Bytes to and from a server, bounded in time and memory whatever the server does.

Owns the socket, the reading of whole replies and the deadlines. Must not know what a reply means.
Every trouble leaves here as :class:`FailureMet`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable

from flask_smtp_admin.smtp.failure import Failure, FailureMet
from flask_smtp_admin.smtp.reply import Reply
from flask_smtp_admin.smtp.tls import TlsFacts, facts_of, failure_of, make_context

MAX_REPLY_BYTES = 64 * 1024
MAX_LINE_BYTES = 8 * 1024
PIECE_BYTES = 64 * 1024

_RECEIVE_BYTES = 16 * 1024


class Wire:
    """A connected socket that speaks in replies. *deadline* (clock reading) ends everything."""

    def __init__(self, sock: socket.socket, clock: Callable[[], float], deadline: float) -> None:
        self._sock = sock
        self._clock = clock
        self._deadline = deadline
        self._buffer = bytearray()
        self.encrypted = False

    @property
    def local_address(self) -> str:
        """Our end's address."""
        return str(self._sock.getsockname()[0])

    @property
    def buffered(self) -> bool:
        """Whether something was received that no reply has used up."""
        return bool(self._buffer)

    def close(self) -> None:
        """Close the socket; never raises."""
        with contextlib.suppress(OSError):
            self._sock.close()

    # ------------------------------------------------------------- writing

    def write(self, data: bytes, timeout: float) -> None:
        """Write all of *data*; *timeout* (seconds) holds for each piece of 64 KiB.

        When it raises, the last byte of *data* has not left.
        """
        view = memoryview(data)
        position, until, piece_ends = 0, 0.0, 0
        while position < len(view):
            if position >= piece_ends:
                until, piece_ends = self._clock() + timeout, position + PIECE_BYTES
            self._allow(until)
            try:
                position += self._sock.send(view[position : position + PIECE_BYTES])
            except OSError as error:
                raise self._met(error, until) from error

    # ------------------------------------------------------------- reading

    def read_reply(self, timeout: float) -> Reply:
        """The next whole reply; *timeout* (seconds) is for all of it, not for each byte."""
        until = self._clock() + timeout
        texts: list[bytes] = []
        size, code = 0, b""
        while True:
            line = self._read_line(until)
            size += len(line) + 2
            if size > MAX_REPLY_BYTES:
                raise FailureMet(Failure.REPLY_TOO_LONG, f"more than {MAX_REPLY_BYTES} bytes")
            _check_form(line, code)
            code = line[:3]
            texts.append(line[4:])
            if line[3:4] != b"-":
                return Reply.from_wire(int(code), texts)

    def _read_line(self, until: float) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end > MAX_LINE_BYTES or (end < 0 and len(self._buffer) > MAX_LINE_BYTES):
                raise FailureMet(Failure.REPLY_TOO_LONG, f"a line over {MAX_LINE_BYTES} bytes")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line.removesuffix(b"\r")
            searched = len(self._buffer)
            self._buffer += self._receive(until)

    def _receive(self, until: float) -> bytes:
        self._allow(until)
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except OSError as error:
            raise self._met(error, until) from error
        if not data:
            raise FailureMet(Failure.CLOSED)
        return data

    def interrupted(self) -> bool:
        """Whether the server said something, or went away, without being asked. Does not wait."""
        if self._buffer:
            return True
        if not _readable(self._sock):
            return False
        # Readable need not mean words: TLS 1.3 servers send session tickets by themselves.
        self._sock.settimeout(0)
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        self._buffer += data
        return True

    def arrived_reply(self) -> Reply | None:
        """A reply that is already here, without waiting for more; None when there is no whole one."""
        try:
            if not self.interrupted():
                return None
            return self.read_reply(0.0)
        except FailureMet:
            return None

    # ------------------------------------------------------------- TLS

    def start_tls(
        self, ca_certificate: str | None, hostname: str, timeout: float, *, implicit: bool
    ) -> TlsFacts:
        """Shake hands; nothing received before may be left over (RFC 3207 section 6)."""
        if self._buffer:
            raise FailureMet(Failure.TLS_INJECTED, "bytes after the reply to STARTTLS")
        context = make_context(ca_certificate)
        until = self._clock() + timeout
        self._allow(until)
        try:
            # wrap_socket would leave a socket that was reset meanwhile open, so ask first.
            self._sock.getpeername()
            tls = context.wrap_socket(
                self._sock, server_hostname=hostname, do_handshake_on_connect=False
            )
            self._sock = tls
            # Bounded as a whole: ssl counts the time-out over all reads and writes of it.
            tls.do_handshake()
        except ssl.SSLError as error:
            raise failure_of(error, implicit=implicit) from error
        except ValueError as error:  # a host name that no certificate can be for
            raise FailureMet(Failure.CERTIFICATE_WRONG_NAME, str(error)) from error
        except OSError as error:
            raise self._met(error, until) from error
        self.encrypted = True
        return facts_of(tls)

    # ------------------------------------------------------------- time

    def _allow(self, until: float) -> None:
        """Let the next system call take until *until* or the deadline, whichever is first."""
        left = min(until, self._deadline) - self._clock()
        if left <= 0:
            raise self._late(until)
        self._sock.settimeout(left)

    def _late(self, until: float) -> FailureMet:
        return FailureMet(Failure.DEADLINE if self._deadline <= until else Failure.TIMED_OUT)

    def _met(self, error: OSError, until: float) -> FailureMet:
        if isinstance(error, TimeoutError):
            return self._late(until)
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return FailureMet(Failure.CLOSED)
        if isinstance(error, ssl.SSLError):
            return FailureMet(Failure.TLS_FAILED, error.reason or str(error))
        return FailureMet(Failure.RESET, error.strerror or str(error))


def _check_form(line: bytes, code: bytes) -> None:
    """RFC 5321 section 4.2: three digits, then a hyphen, a space or nothing; one code a reply."""
    if line[:2] in {b"\x16\x03", b"\x15\x03"}:
        raise FailureMet(Failure.TLS_EXPECTED, "the server sent a TLS record")
    digits = line[:3]
    well_formed = len(digits) == 3 and digits.isdigit() and b"2" <= digits[:1] <= b"5"
    if not well_formed or line[3:4] not in {b"-", b" ", b""} or (code and digits != code):
        raise FailureMet(Failure.NONSENSE, "a line that is not part of a reply")


def _readable(sock: socket.socket) -> bool:
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        return bool(poller.poll(0))
    return bool(select.select([sock], [], [], 0)[0])  # pragma: no cover - Windows
