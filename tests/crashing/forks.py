"""A child that does something until it comes to a point: seen from the test's side."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.crashing.points import Site
from tests.servers.process import LAUNCH
from tests.waiting import GENEROUS_SECONDS, ConditionNotMet

ROOT = Path(__file__).parents[2]
KILL, STOP = "SIGKILL", "SIGSTOP"
DONE = 0


class Forks:
    """Makes children, one at a time; a context manager.

    :param folder: where it keeps its notes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._notes = folder / "passed"
        self._log = folder / "log"
        # Without what measures coverage: the lines are not as they are written, and it takes long.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
        command = [sys.executable, "-m", "tests.crashing.child"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, LAUNCH, str(os.getpid()), "", *command],
                env={**environment, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.sites = [Site(*site) for site in self._answer()]

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()  # its child dies with it
        self._process.communicate()

    def run(self, role: str, *, at: int | None = None, by: str = KILL, **given: Any) -> int | str:
        """Have a child do something; return its status, or what ended or stopped it.

        :param at: the point at which it does ``by`` to itself; ``None`` for nowhere.
        """
        return self._ask({"do": role, "with": given, "at": at, "by": by, "notes": str(self._notes)})

    def go_on(self) -> int | str:
        """Let the child that was stopped go on, and wait for its end."""
        return self._ask({"do": "go on"})

    def passed(self) -> list[int]:
        """The points that the last child passed which came to its end."""
        found: list[int] = json.loads(self._notes.read_text())
        return found

    def first_of(self, function: str) -> int:
        """The first point of a function, named as in ``delivery.lane:Lane.run``."""
        lines = {site.line: n for n, site in enumerate(self.sites) if site.function == function}
        return lines[min(lines)]

    def log(self) -> str:
        """The end of what the children had to say."""
        return self._log.read_text(errors="replace")[-4000:]

    def _ask(self, question: dict[str, Any]) -> int | str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        answer: int | str = self._answer()
        assert answer != 1, f"The child stumbled:\n{self.log()}"
        return answer

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], 2 * GENEROUS_SECONDS)[0]:
            self._process.kill()  # whoever asks next must not wait for it
            raise ConditionNotMet(f"The child never came to its end:\n{self.log()}")
        line = self._process.stdout.readline()
        assert line, f"The parent of the children ended:\n{self.log()}"
        return json.loads(line)
