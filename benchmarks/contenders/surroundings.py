"""What runs beside a contender that measures single messages: the server, and a worker.

Owns starting and ending them. Must not know what is measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.servers.process import answers
from tests.waiting import wait_until

STAMPS = Path(__file__).parents[1] / "stamps.py"


def config(given: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of an application with the ``dispatch`` and ``redis`` given."""
    found = {"SMTP_ADMIN_DISPATCH": given["dispatch"]}
    if given["dispatch"] == "rq":
        found["SMTP_ADMIN_REDIS_URL"] = given["redis"]
    return found


@contextmanager
def server(port: int, only: str = "") -> Iterator[IO[str]]:
    """Run the server: the stamps as it prints them, of messages to ``only``, or of all."""
    with process(str(STAMPS), str(port), only) as running:
        wait_until(lambda: answers(port), what="the server")
        assert running.stdout is not None
        yield running.stdout


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python with these arguments while the block lasts."""
    running = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.communicate()
