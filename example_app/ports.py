"""Loopback ports for the web server and the mail server.

Owns which ones are tried. Must not know what listens there.
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


def smtp_candidates(last: int | None) -> list[int]:
    """Return the ports that the mail server tries, that of the last start first.

    They stay below 49152, which is where the extension's rule for ports ends.
    """
    others = range(SMTP_PORT, SMTP_PORT + CHOICES)
    return [*others] if last is None else [last, *others]
