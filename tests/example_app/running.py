"""The example as a person runs it: a process, its terminal, and a browser without JavaScript."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from types import TracebackType

import psutil

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "tests" / "servers" / "launch.py"


class Example:
    """One run of ``python -m example_app``; a context manager."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self._environment = environment
        self._terminal = folder.with_name(f"{folder.name}.terminal")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Example:
        self.start()
        wait_until(lambda: "Ctrl-C" in self.printed or not self.runs, what="the greeting")
        assert self.runs, self.printed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        family = self.family() if self.runs else []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=20)
        if self._process is not None:
            self._process.wait()

    def start(self) -> None:
        """Start it, without waiting for anything."""
        keep = {
            name: value
            for name, value in os.environ.items()
            if name not in ("FLASK_APP", "FLASK_DEBUG", "PORT") and not name.startswith("EXAMPLE_")
        }
        with self._terminal.open("wb") as terminal:
            self._process = subprocess.Popen(
                # Through the tests' own tie, so that an interrupted test run leaves nothing.
                [
                    *(sys.executable, str(LAUNCH), str(os.getpid()), ""),
                    *(sys.executable, "-m", "example_app", *self._arguments),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                env={
                    **keep,
                    "EXAMPLE_APP_DATA": str(self.folder),
                    "PORT": "0",
                    **self._environment,
                },
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        assert self._process is not None
        return self._process

    @property
    def runs(self) -> bool:
        """Whether the supervisor is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def printed(self) -> str:
        """What the terminal shows."""
        return self._terminal.read_text(errors="replace")

    @property
    def url(self) -> str:
        """The shop's address, without a slash at the end."""
        found = re.search(r"http://127\.0\.0\.1:\d+", self.printed)
        assert found, self.printed
        return found[0]

    @property
    def password(self) -> str:
        """What the terminal says the password is."""
        found = re.search(r"Password +(\S+)", self.printed)
        assert found, self.printed
        return found[1]

    def family(self) -> list[psutil.Process]:
        """The supervisor and every process under it."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def child(self, word: str) -> psutil.Process:
        """The process whose command line has this word, once there is one."""

        def find() -> psutil.Process | None:
            for process in self.family()[1:]:
                with contextlib.suppress(psutil.Error):
                    if any(word in argument for argument in process.cmdline()):
                        return process
            return None

        found = wait_until(find, what=f"a process with {word!r}")
        assert found is not None
        return found

    def end(self, sign: signal.Signals) -> list[psutil.Process]:
        """Send a signal to the supervisor alone and return who was in the family then."""
        family = self.family()
        self.process.send_signal(sign)
        self.process.wait(60)
        return family


def left_over(family: list[psutil.Process]) -> list[psutil.Process]:
    """Who of a family still lives."""
    return [
        process
        for process in family
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@dataclass
class Answer:
    """What a server answered."""

    status: int
    url: str
    body: str
    headers: http.client.HTTPMessage


class Visitor:
    """A browser with cookies and forms, and without JavaScript."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
        )

    def get(self, path: str, **headers: str) -> Answer:
        """Open a page, redirects followed."""
        return self._open(urllib.request.Request(self._example.url + path, headers=headers))

    def post(self, path: str, *, token_from: str = "/", **fields: str) -> Answer:
        """Send a form with the token of a page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(token_from).body)
        assert found, f"{token_from} has no form"
        data = urllib.parse.urlencode({"csrf_token": found[1], **fields}).encode()
        return self._open(urllib.request.Request(self._example.url + path, data))

    def log_in(self) -> Visitor:
        """Enter name and password as the terminal shows them."""
        answer = self.post(
            "/login", token_from="/login", user="admin", password=self._example.password
        )
        assert "Send something" in answer.body
        return self

    def _open(self, request: urllib.request.Request) -> Answer:
        try:
            response = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            body = response.read().decode("utf-8", "replace")
            return Answer(response.status, response.url, body, response.headers)
