"""One process of the example: its start, its readiness, its end.

Owns a child and the pipe over which it reports. Must not know what the children do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

TETHER = Path(__file__).with_name("tether.py")
LOG_BYTES = 1_000_000
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a child that crashed is started again; doubled while it goes on crashing."""
STEADY_SECONDS = 60.0
"""Who lived so long is forgiven its earlier crashes."""


Command = Callable[[int], Sequence[str]]
"""Given the descriptor to report readiness on, the words of a command."""


class Child:
    """A process that is started again when it ends by itself.

    :param log: takes what it prints.
    :param reports: whether it writes to that descriptor; ``False``: it is ready when it runs.
    :param passed: further descriptors that it inherits.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        *,
        log: Path,
        environment: Mapping[str, str],
        reports: bool = True,
        passed: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = dict(environment)
        self._reports = reports
        self._passed = passed
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: int | None = None
        self._started_at = 0.0
        self._pause = FIRST_PAUSE
        self.start_again_at: float | None = None
        """When it is started again, on the monotonic clock; ``None`` while it runs."""

    @property
    def pid(self) -> int | None:
        """Its process, or ``None``."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, tied to this process; see :mod:`.tether`."""
        self.start_again_at = None
        self._started_at = time.monotonic()
        ready, report = os.pipe()
        descriptors = (*self._passed, *((report,) if self._reports else ()))
        listed = ["--pass", ",".join(map(str, descriptors))] if descriptors else []
        words = [
            sys.executable,
            "-I",
            "-S",
            str(TETHER),
            *listed,
            str(os.getpid()),
            *self._command(report),
        ]
        try:
            with self._open_log() as log:
                self._process = subprocess.Popen(  # noqa: S603  (our own words)
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    pass_fds=descriptors,
                    # Ctrl-C in the terminal is for the supervisor, who ends all in order.
                    start_new_session=True,
                )
        finally:
            os.close(report)
        self._forget_readiness()
        self._ready = ready

    def wait_ready(self, *, wanted: Callable[[], bool]) -> str:
        """Wait until it reports, while ``wanted`` is true, and return its word; empty: it failed."""
        while self._ready is not None and wanted():
            if select.select([self._ready], [], [], 0.1)[0]:
                said = os.read(self._ready, 16)
                self._forget_readiness()
                return said.decode("ascii")
        return ""

    def ended(self) -> int | None:
        """Return the exit code of a child that just ended by itself, and plan its next start."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self._pause = FIRST_PAUSE
        self.start_again_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return code

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        self.start_again_at = None
        if self._process is not None:
            self._process.terminate()

    def wait_ended(self, seconds: float) -> None:
        """Wait for its end, and force it after so many seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._forget_readiness()

    def last_words(self, lines: int = 5) -> str:
        """Return the end of what it printed."""
        try:
            text = self.log.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _open_log(self) -> IO[bytes]:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        return self.log.open("ab")

    def _forget_readiness(self) -> None:
        if self._ready is not None:
            os.close(self._ready)
            self._ready = None


def describe_end(code: int) -> str:
    """Say how a process ended, from its exit code."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
