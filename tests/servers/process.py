"""A server process: its folder, its ports, its start, its readiness and its end.

What every server of the tests shares. It knows no protocol: readiness is the caller's condition.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from tests.waiting import ConditionNotMet, wait_until

HOST = "127.0.0.1"
LAUNCH = Path(__file__).with_name("launch.py")
# Below the range from which Linux takes the local ports of outgoing connections, so that a port
# found free stays free until the server listens on it.
PORTS = range(20000, 32000)
_dice = random.SystemRandom()  # pytest-randomly gives every xdist worker the same ordinary seed


class ServerMissing(Exception):
    """The server is not installed; the message says what to install."""


def skip_or_fail(missing: ServerMissing) -> NoReturn:
    """Skip the test with the reason; fail instead in CI, where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{missing} (in CI a missing server is a failure)", pytrace=False)
    pytest.skip(str(missing))


def find_program(*names: str, hint: str, folders: Sequence[str] = ()) -> str:
    """The full path of the first of ``names`` that is installed.

    :raises ServerMissing: none is; with ``hint``.
    """
    search = os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=search):
            return found
    raise ServerMissing(hint)


def free_port() -> int:
    """A loopback port on which nothing listens now."""
    for port in _dice.sample(PORTS, 200):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                candidate.bind((HOST, port))
                return port
    raise RuntimeError("no free port on loopback")


def answers(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def unprivileged_user() -> str:
    """The user for servers that refuse to run as root: ``nobody`` when we are root, else none."""
    return "nobody" if os.geteuid() == 0 else ""


def private_folder(name: str, owner: str = "") -> Path:
    """A new folder of mode 0700, with a path short enough for a Unix socket, owned by ``owner``.

    Directly under /tmp, since pytest's own temporary folders are closed to another user.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"fsa-{name}-", dir="/tmp"))
    if owner:
        shutil.chown(folder, owner)
    return folder


def run(command: Sequence[str | Path], user: str = "") -> None:
    """Run a preparing command to its end, as ``user`` when named.

    :raises RuntimeError: it failed; with its output.
    """
    done = subprocess.run(
        [sys.executable, LAUNCH, str(os.getpid()), user, *map(str, command)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


class ServerProcess:
    """One running (or stopped) server.

    It dies with the thread that called :meth:`start`, so start it from a thread that lasts.

    :param command: program (full path) and arguments; the same at every start.
    :param ready: true as soon as the server answers.
    :param log: the file that takes what it prints.
    :param user: run as this user; empty for our own.
    :param stop_signal: what asks it to end in an orderly way.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], bool],
        log: Path,
        user: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = [str(word) for word in command]
        self._ready = ready
        self._log = log
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id.

        :raises RuntimeError: it is not running.
        """
        if self._process is None:
            raise RuntimeError(f"{self._command[0]} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and return when the server answers.

        :raises RuntimeError: it ended or never answered; with the end of its log.
        """
        if self.running:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, LAUNCH, str(os.getpid()), self._user, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        try:
            wait_until(lambda: not self.running or self._ready(), what=f"{self._command[0]}")
        except ConditionNotMet:
            self.kill()
            raise RuntimeError(f"{self._command[0]} never answered:\n{self.log()}") from None
        if not self.running:
            raise RuntimeError(f"{self._command[0]} ended at once:\n{self.log()}")

    def stop(self) -> None:
        """End it in an orderly way, or by force when it takes too long."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        children = _descendants(process.pid)
        process.send_signal(sign)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # What it leaves behind would keep its port or its data folder from the next start.
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=20)

    def log(self, characters: int = 4000) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-characters:] if self._log.exists() else ""
