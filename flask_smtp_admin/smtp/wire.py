"""Bytes to and from a server, bounded in time and memory whatever the server does.

Owns the socket, the reading of whole replies and the deadlines. Must not know what a reply means,
nor who runs while it waits. Every trouble leaves here as :class:`FailureMet`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable

from flask_smtp_admin.smtp.failure import Failure, FailureMet
from flask_smtp_admin.smtp.reply import Reply
from flask_smtp_admin.smtp.tls import TlsFacts, facts_of, failure_of, make_context
from flask_smtp_admin.smtp.waiting import BLOCKING, Waiter

MAX_REPLY_BYTES = 64 * 1024
MAX_LINE_BYTES = 8 * 1024
PIECE_BYTES = 64 * 1024

_RECEIVE_BYTES = 16 * 1024

_FORM = re.compile(rb"[2-5][0-9]{2}(?:[ -]|\Z)")

_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A connected socket that speaks in replies. *deadline* (clock reading) ends everything."""

    def __init__(
        self,
        sock: socket.socket,
        clock: Callable[[], float],
        deadline: float,
        waiter: Waiter = BLOCKING,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._clock = clock
        self._deadline = deadline
        self._waiter = waiter
        self._buffer = bytearray()
        self.encrypted = False
        self.written = 0
        """Bytes that have left so far."""

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

    def outlast(self, seconds: float) -> None:
        """Put the deadline off, so that there are so many seconds from now on."""
        self._deadline = max(self._deadline, self._clock() + seconds)

    # ------------------------------------------------------------- writing

    def write(self, data: bytes, timeout: float) -> None:
        """Write all of *data*; *timeout* (seconds) holds for each piece of 64 KiB.

        When it raises, the last byte of *data* has not left; ``written`` tells how many have.
        """
        view = memoryview(data)
        position, until, piece_ends = 0, 0.0, 0
        while position < len(view):
            if position >= piece_ends:
                until, piece_ends = self._clock() + timeout, position + PIECE_BYTES
            self._left(until)
            try:
                sent = self._sock.send(view[position : position + PIECE_BYTES])
                position += sent
                self.written += sent
            except OSError as error:
                self._wait_out(error, until, to_write=True)

    # ------------------------------------------------------------- reading

    def read_reply(self, timeout: float) -> Reply:
        """The next whole reply; *timeout* (seconds) is for all of it, not for each byte."""
        until = self._clock() + timeout
        line = self._read_line(until)
        _check_form(line, b"")
        if line[3:4] != b"-":
            return Reply.from_wire(int(line[:3]), [line[4:]])
        return self._read_on(line, until)

    def _read_on(self, line: bytes, until: float) -> Reply:
        """The rest of a reply of several lines."""
        texts: list[bytes] = []
        size, code = 0, line[:3]
        while True:
            size += len(line) + 2
            if size > MAX_REPLY_BYTES:
                raise FailureMet(Failure.REPLY_TOO_LONG, f"more than {MAX_REPLY_BYTES} bytes")
            texts.append(line[4:])
            if line[3:4] != b"-":
                return Reply.from_wire(int(code), texts)
            line = self._read_line(until)
            _check_form(line, code)

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
        # TLS may hold words that have come already, which the socket knows nothing of.
        if not self._pending():
            self._wait(until, to_write=False)
        while True:
            try:
                data = self._sock.recv(_RECEIVE_BYTES)
            except OSError as error:
                self._wait_out(error, until, to_write=False)
                continue
            if not data:
                raise FailureMet(Failure.CLOSED)
            return data

    def _pending(self) -> bool:
        return self.encrypted and isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def interrupted(self) -> bool:
        """Whether the server said something, or went away, without being asked. Does not wait."""
        if self._buffer:
            return True
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        # A socket that is readable need not have words: TLS 1.3 servers send session tickets.
        except _NOT_YET:
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
        self._left(until)
        try:
            # wrap_socket would leave a socket that was reset meanwhile open, so ask first.
            self._sock.getpeername()
            tls = context.wrap_socket(
                self._sock, server_hostname=hostname, do_handshake_on_connect=False
            )
            self._sock = tls
            self._shake_hands(tls, until)
        except ssl.SSLError as error:
            raise failure_of(error, implicit=implicit) from error
        except ValueError as error:  # a host name that no certificate can be for
            raise FailureMet(Failure.CERTIFICATE_WRONG_NAME, str(error)) from error
        except OSError as error:
            raise self._met(error, until) from error
        self.encrypted = True
        return facts_of(tls)

    def _shake_hands(self, tls: ssl.SSLSocket, until: float) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(until, to_write=False)
            except ssl.SSLWantWriteError:
                self._wait(until, to_write=True)
            else:
                return

    # ------------------------------------------------------------- time

    def _left(self, until: float) -> float:
        """The seconds until *until* or the deadline, whichever is first."""
        left = min(until, self._deadline) - self._clock()
        if left <= 0:
            raise self._late(until)
        return left

    def _wait(self, until: float, *, to_write: bool) -> None:
        if not self._waiter.until_ready(self._sock, self._left(until), to_write=to_write):
            raise self._late(until)

    def _wait_out(self, error: OSError, until: float, *, to_write: bool) -> None:
        """Wait, if that is all that *error* asks for; else say what it means."""
        if not isinstance(error, _NOT_YET):
            raise self._met(error, until) from error
        # TLS may have to read before it can write, and the other way round.
        if isinstance(error, ssl.SSLError):
            to_write = isinstance(error, ssl.SSLWantWriteError)
        self._wait(until, to_write=to_write)

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
    if _FORM.match(line) and (not code or line.startswith(code)):
        return
    if line[:2] in {b"\x16\x03", b"\x15\x03"}:
        raise FailureMet(Failure.TLS_EXPECTED, "the server sent a TLS record")
    raise FailureMet(Failure.NONSENSE, "a line that is not part of a reply")
