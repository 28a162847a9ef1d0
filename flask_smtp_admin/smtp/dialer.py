"""From a host name to a connected socket: resolve once, check every address, connect to it.

Owns name lookup and the TCP connection. Must not know SMTP. A second lookup between the check and
the connection would let a name change its mind, so there is none.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import idna

from flask_smtp_admin.smtp.addresses import IPAddress, forbidden
from flask_smtp_admin.smtp.failure import Failure, FailureMet
from flask_smtp_admin.smtp.waiting import BLOCKING, Waiter

# What connecting without blocking answers while it goes on, on POSIX and on Windows.
_UNDERWAY = frozenset(
    {errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)}
)


class Target(NamedTuple):
    """One checked address to connect to."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def address(self) -> str:
        """The address as text."""
        return str(self.sockaddr[0])


def ascii_host(host: str) -> str:
    """*host* as the DNS and certificates have it: A-labels (IDNA 2008), no brackets.

    :raises FailureMet: for what cannot be a host name.
    """
    host = host.strip().rstrip(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise FailureMet(Failure.NAME_NOT_FOUND, str(error)) from error


def resolve(host: str, port: int, *, allow_private: bool) -> tuple[Target, ...]:
    """The addresses of *host* that may be connected to, in the resolver's order.

    How long a lookup takes is bounded by the system's resolver.

    :raises FailureMet: when the name is unknown, cannot be looked up, or leads only to addresses
        that the policy forbids.
    """
    name = ascii_host(host)
    found = _lookup(name, port)
    allowed, reasons = [], []
    for target in found:
        reason = forbidden(_ip(target), allow_private=allow_private)
        if reason:
            reasons.append(reason)
        else:
            allowed.append(target)
    if not allowed:
        raise FailureMet(Failure.ADDRESS_FORBIDDEN, "; ".join(reasons))
    return tuple(allowed)


def _lookup(name: str, port: int) -> list[Target]:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        unknown = error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)}
        failure = Failure.NAME_NOT_FOUND if unknown else Failure.NAME_LOOKUP_FAILED
        raise FailureMet(failure, str(error.strerror or error)) from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
        raise FailureMet(Failure.NAME_NOT_FOUND, str(error)) from error
    return list(dict.fromkeys(Target(entry[0], entry[4]) for entry in found))


def _ip(target: Target) -> IPAddress:
    return ipaddress.ip_address(target.address.partition("%")[0])


def connect(
    targets: tuple[Target, ...],
    *,
    timeout: float,
    clock: Callable[[], float],
    note: Callable[[str], None],
    waiter: Waiter = BLOCKING,
) -> socket.socket:
    """A socket connected to the first of *targets* that answers, all within *timeout* seconds.

    Each address gets an equal share of the time that is left, so that a dead one does not use up
    the time of the next. *note* is told of every try.

    :raises FailureMet: with the failure of the last address.
    """
    until = clock() + timeout
    met = FailureMet(Failure.TIMED_OUT)
    for index, target in enumerate(targets):
        share = (until - clock()) / (len(targets) - index)
        if share <= 0:
            break
        try:
            sock = _connect_one(target, share, waiter)
        except OSError as error:
            met = FailureMet(_failure_of(error), f"{target.address}: {error.strerror or error}")
            note(f"{target.address}: {error.strerror or error}")
            continue
        note(f"connected to {target.address}")
        return sock
    raise met


def _connect_one(target: Target, timeout: float, waiter: Waiter) -> socket.socket:
    sock = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _raise(sock.connect_ex(target.sockaddr), underway=_UNDERWAY)
        ready = waiter.until_ready(sock, timeout, to_write=True)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        _raise(error if ready else errno.ETIMEDOUT)
        # Commands are small and each waits for its answer: waiting to fill a packet costs 40 ms.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _raise(number: int, underway: frozenset[int] = frozenset()) -> None:
    if number and number not in underway:
        raise OSError(number, os.strerror(number))


def _failure_of(error: OSError) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure.TIMED_OUT
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED
    if error.errno == errno.ECONNRESET:
        return Failure.RESET
    return Failure.UNREACHABLE
