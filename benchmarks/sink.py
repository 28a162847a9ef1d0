"""The server that everything is delivered to: Postfix' ``smtp-sink``, a C program.

Owns finding, starting and ending it, and the proxy that makes it far away. Must not know who
delivers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import (
    HOST,
    ServerMissing,
    ServerProcess,
    answers,
    free_port,
    private_folder,
    unprivileged_user,
)

ROOT = Path(__file__).parents[1]
UNPACKED = ROOT / ".tools" / "postfix" / "usr"
DELAY = Path(__file__).with_name("delay.py")
BACKLOG = "256"
HINT = "smtp-sink is not here. “make bench” fetches it; elsewhere install Debian's package postfix."


@contextmanager
def sink() -> Iterator[int]:
    """Run a server that takes every message and forgets it: its port."""
    port = free_port()
    user = unprivileged_user()
    command: list[str | Path] = [*_program(), *(("-u", user) if user else ())]
    with _running([*command, f"{HOST}:{port}", BACKLOG], port):
        yield port


@contextmanager
def far_away(port: int, milliseconds: float) -> Iterator[int]:
    """Put that many milliseconds each way before a server: the port to use instead."""
    near = free_port()
    ports = (str(near), str(port))
    with _running([sys.executable, DELAY, *ports, str(milliseconds)], near):
        yield near


@contextmanager
def _running(command: list[str | Path], port: int) -> Iterator[None]:
    log = private_folder("sink") / "log"
    process = ServerProcess(command, ready=lambda: answers(port), log=log)
    process.start()
    try:
        yield
    finally:
        process.stop()
        log.unlink()
        log.parent.rmdir()


def _program() -> list[str]:
    """The program with what it needs before it: the unpacked one does not know its own libraries."""
    unpacked = UNPACKED / "sbin" / "smtp-sink"
    if unpacked.exists():
        libraries = UNPACKED / "lib" / "postfix"
        return ["/usr/bin/env", f"LD_LIBRARY_PATH={libraries}", str(unpacked)]
    if os.access("/usr/sbin/smtp-sink", os.X_OK):
        return ["/usr/sbin/smtp-sink"]
    raise ServerMissing(HINT)
