"""Loopback ports for the web server and the mail server.

Owns choosing them. Must not know what listens there.
"""

from __future__ import annotations

import socket

HOST = "127.0.0.1"
WEB_PORT, SMTP_PORT = 5000, 2525
CHOICES = 200
"""So many ports are tried, upwards."""


class PortTaken(Exception):
    """Another program listens there; the message says what to do."""


def open_web_socket(wanted: str | None) -> socket.socket:
    """Return a listening socket on the port that is wanted, or on 5000 or the next free one.

    The socket, not its number: nobody can take the port between finding and using it.

    :param wanted: the variable ``PORT``; ``0`` takes any.
    :raises PortTaken: somebody else has the port that was asked for, or it is no port.
    """
    if wanted is not None:
        try:
            return _listen(int(wanted))
        except (ValueError, OverflowError) as error:
            raise PortTaken(f"PORT is {wanted!r}, which is no port number.") from error
        except OSError as error:
            raise PortTaken(
                f"PORT is {wanted}, where nothing can be opened ({error.strerror}). "
                "Choose another one, or leave it out."
            ) from error
    for port in range(WEB_PORT, WEB_PORT + CHOICES):
        try:
            return _listen(port)
        except OSError:
            continue
    raise PortTaken(f"All ports from {WEB_PORT} are taken. Name a free one: PORT=8000.")


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def choose_smtp_port(last: int | None) -> int:
    """Return the port of the last start if it is still free, otherwise the next free one.

    It stays below 49152, which is where the extension's rule for ports ends.

    :raises PortTaken: there is none.
    """
    candidates = list(range(SMTP_PORT, SMTP_PORT + CHOICES))
    for port in [last, *candidates] if last is not None else candidates:
        if is_free(port):
            return port
    raise PortTaken(f"All ports from {SMTP_PORT} are taken; the mail server needs one.")


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a loopback port."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True
