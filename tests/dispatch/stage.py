"""A host application, its servers, and the processes that deliver for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from flask import Flask
from flask_mail import Message

from flask_smtp_admin import mail
from flask_smtp_admin.core import EXTENSION_KEY, Core, State
from flask_smtp_admin.models import Worker
from flask_smtp_admin.outbox import SendOptions
from tests.delivery.bench import Bench
from tests.dispatch.hostapp import create_app
from tests.servers.process import ServerMissing, ServerProcess
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machine:
    """A host name and a clock that no other process has.

    :param ahead: seconds that its clock is ahead.
    """

    name: str
    ahead: int

    def command(self, command: Sequence[str]) -> list[str]:
        """Return how to run a command, with settings before it as ``env`` takes them, there."""
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        unshare = shutil.which("unshare")
        if not found or unshare is None:
            raise ServerMissing("libfaketime or unshare is missing: apt-get install libfaketime")
        clock = [
            f"LD_PRELOAD={found[0]}",
            f"FAKETIME={self.ahead:+d}",
            # Linux' other clocks are no different on a machine whose clock is wrong.
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]
        named = f'hostname {self.name} && exec env "$@"'
        mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return [unshare, "--uts", *mapped, "sh", "-c", named, "sh", *clock, *command]


class Stage:
    """One application on one database, in this process and in as many others as a test wants.

    :param redis_url: empty for none.
    :param lease: seconds of the workers' leases; ``None`` for the product's pace.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        dispatch: str = "none",
        redis_url: str = "",
        lease: float | None = 3.0,
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.environment = {
            "FLASK_APP": "tests.dispatch.hostapp",
            "PYTHONPATH": str(ROOT),
            "HOST_FOLDER": str(folder),
            "HOST_DATABASE": database_url,
            "HOST_REDIS": redis_url,
            "HOST_DISPATCH": dispatch,
        }
        if lease is not None:
            self.environment["HOST_LEASE"] = str(lease)
        self.app = self._make_app()
        self.core: Core = self._state().core
        assert self.core.database.engine is not None, "its tables are there now"
        self.bench = Bench(database_url, empty=False)
        self._started: list[ServerProcess] = []

    def _make_app(self) -> Flask:
        environment = {k: v for k, v in self.environment.items() if k != "HOST_LEASE"}
        with mock.patch.dict(os.environ, environment):
            return create_app()

    def _state(self) -> State:
        state: State = self.app.extensions[EXTENSION_KEY]
        return state

    def close(self) -> None:
        for process in self._started:
            process.kill()
        self.bench.engine.dispose()
        self.core.database.bare_engine.dispose()

    # --- sending --------------------------------------------------------------------------------

    def send(self, count: int = 1, *, at_most_once: bool = False) -> None:
        """Send from this process."""
        with self.app.app_context():
            for number in range(count):
                message = Message(f"No {number}", recipients=["ann@example.org"], body="Hello.")
                mail.submit(self._state(), message, SendOptions(at_most_once=at_most_once))

    # --- processes ------------------------------------------------------------------------------

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the application to its end."""
        return subprocess.run(
            [sys.executable, "-m", "flask", *command],
            env={**os.environ, **self.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def worker(self, *options: str) -> ServerProcess:
        """Start ``flask smtp-admin worker``, and return when it has signed in."""
        before = self.workers()
        return self.start(
            [sys.executable, "-m", "flask", "smtp-admin", "worker", *options],
            ready=lambda: self.workers() - before,
        )

    def worker_on(self, machine: Machine, *options: str) -> ServerProcess:
        """Do the same on a machine of its own, which shares nothing but the servers."""
        before = self.workers()
        command = [sys.executable, "-m", "flask", "smtp-admin", "worker", *options]
        folder = self.folder / machine.name
        folder.mkdir(exist_ok=True)
        return self.start(
            machine.command([f"HOST_FOLDER={folder}", *command]),
            ready=lambda: self.workers() - before,
        )

    def stock_worker(self, *options: str, at: Sequence[str] = ()) -> ServerProcess:
        """Start RQ's own worker, and return when it listens.

        :param at: the options that tell it where its Redis is.
        """
        rq = str(Path(sys.executable).with_name("rq"))
        where = at or ("--url", self.environment["HOST_REDIS"])
        command = [rq, "worker", *where, *options, "smtp-admin"]
        log = self.folder / f"log{len(self._started)}"
        return self.start(command, ready=lambda: "Listening on" in _text(log))

    def start(self, command: list[str], ready: Callable[[], object]) -> ServerProcess:
        env = shutil.which("env")
        assert env is not None
        settings = [f"{key}={value}" for key, value in self.environment.items()]
        process = ServerProcess(
            [env, *settings, *command],
            ready=lambda: bool(ready()),
            log=self.folder / f"log{len(self._started)}",
        )
        self._started.append(process)
        process.start()
        return process

    # --- what became of it ----------------------------------------------------------------------

    def workers(self) -> set[str]:
        """Return the workers that have signed in and not signed off."""
        return {row.id for row in self.bench.rows(Worker, Worker.stopped_at.is_(None))}

    def wait_until_sent(self, count: int) -> None:
        wait_until(
            lambda: self.bench.statuses().count("sent") == count, what=f"{count} sent messages"
        )

    def signals(self) -> list[list[str]]:
        """Return code, message and process of every signal that the application received."""
        path = self.folder / "signals"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def terminate(process: ServerProcess) -> None:
    """Send SIGTERM, and do not wait."""
    os.kill(process.pid, signal.SIGTERM)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def a_stage(folder: Path, database_url: str, **options: object) -> Iterator[Stage]:
    stage = Stage(folder, database_url, **options)  # type: ignore[arg-type]
    try:
        yield stage
    finally:
        stage.close()
