"""Running contenders: each in a process of its own, in turns, several rounds.

Owns the start signal and the collection of what they tell. Must not know what they do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

ROOT = Path(__file__).parents[1]
# An installed package has its bytecode beside it: a start that compiles it anew is nobody's.
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
Told: TypeAlias = dict[str, Any]
"""What a contender tells; ``began`` and ``ended`` by the clock that all processes share."""
Once: TypeAlias = Callable[[], Told]
"""Does the work once and returns what was told."""


class ContenderFailed(Exception):
    """A contender ended without telling anything; with what it said."""


def run(name: str, *arguments: Mapping[str, Any]) -> Told:
    """Run a contender, once for each argument and all at the same time, and join what they tell.

    Each prepares itself; when all are ready they get the start signal together.

    :raises ContenderFailed: one of them ended without a result.
    """
    with _started(name, arguments) as running:
        for one in running:
            one.line()
        for one in running:
            one.go()
        return _joined([json.loads(one.line()) for one in running])


def fill(name: str, **argument: Any) -> None:
    """Run a program that prepares something and tells nothing."""
    command = [sys.executable, "-m", f"benchmarks.contenders.{name}", json.dumps(argument)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ContenderFailed(f"{name} failed:\n{done.stderr}")


@dataclass(frozen=True)
class _Running:
    """A contender's process, and the file that takes what it complains about."""

    process: subprocess.Popen[str]
    complaints: IO[str]

    def line(self) -> str:
        """Return its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.complaints.seek(0)
            raise ContenderFailed(f"{self.process.args!r} failed:\n{self.complaints.read()}")
        return line

    def go(self) -> None:
        """Give the start signal."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextmanager
def _started(name: str, arguments: Sequence[Mapping[str, Any]]) -> Iterator[list[_Running]]:
    with ExitStack() as stack:
        running = []
        for argument in arguments:
            complaints = stack.enter_context(tempfile.TemporaryFile("w+"))
            process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.contenders.{name}", json.dumps(argument)],
                cwd=ROOT,
                env=_ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
            stack.callback(process.communicate)
            running.append(_Running(process, complaints))
        try:
            yield running
        except BaseException:
            for one in running:
                one.process.kill()
            raise


def _joined(told: Sequence[Told]) -> Told:
    """One result for all: from the first start to the last end, CPU and messages added up."""
    if len(told) == 1:
        return {**told[0], "seconds": told[0]["ended"] - told[0]["began"]}
    began, ended = min(one["began"] for one in told), max(one["ended"] for one in told)
    return {
        "seconds": ended - began,
        "cpu": sum(one["cpu"] for one in told),
        "count": sum(one["count"] for one in told),
        "milliseconds": [each for one in told for each in one.get("milliseconds", ())],
    }


@dataclass(frozen=True)
class Contender:
    """One line of a contest.

    :param key: its name in the JSON.
    :param label: its name in the table.
    :param once: does the work once and returns what was told.
    """

    key: str
    label: str
    once: Once


def in_turns(
    contenders: Sequence[Contender], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Told]]:
    """Let each contender work once a round; what each told, by its key, round by round."""
    told: dict[str, list[Told]] = {one.key: [] for one in contenders}
    for number in range(1, rounds + 1):
        # Every other round backwards, so that nobody always follows the same one.
        for contender in contenders if number % 2 else reversed(contenders):
            result = contender.once()
            told[contender.key].append(result)
            rate = result["count"] / result["seconds"]
            say(f"round {number} of {rounds}  {contender.label:<50} {rate:>9,.0f}/s")
    return told
