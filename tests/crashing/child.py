"""The process whose children are killed: ``python -m tests.crashing.child``.

It loads the engine with points once, and forks for each thing that it is asked to do, which takes
milliseconds. Questions come as lines of JSON on the standard input, answers go to the standard output;
``tests.crashing.forks`` is the other end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from tests.crashing.points import Points, install
from tests.servers.launch import die_with_parent


def main() -> None:
    points = Points()
    install(points)
    from tests.crashing.roles import ROLES  # with the engine, which is loaded here

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed
    _tell(answers, [(site.function, site.line) for site in points.sites])
    child = 0
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "go on":
            os.kill(child, signal.SIGCONT)
        else:
            child = _fork(points, question, ROLES[question["do"]])
        _tell(answers, _end(child))


def _tell(answers: Any, what: Any) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def _fork(points: Points, question: dict[str, Any], role: Callable[..., None]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        die_with_parent(parent)
        _play(points, question, role)
    return child


def _play(points: Points, question: dict[str, Any], role: Callable[..., None]) -> NoReturn:
    status = 1
    try:
        points.begin(question["at"], partial(_do_to_itself, signal.Signals[question["by"]]))
        role(**question["with"])
        with open(question["notes"], "w") as notes:  # noqa: PTH123  (small, and quick)
            json.dump(points.passed, notes)
        status = 0
    except BaseException:  # noqa: BLE001  (the log says it, and the status)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _do_to_itself(what: signal.Signals) -> None:
    """Send the process a signal, by way of this thread: it must not go on while another one stops."""
    signal.pthread_kill(threading.get_ident(), what)


def _end(child: int) -> str | int:
    """Wait for the child's end, or for its being stopped: the name of the signal, or its status."""
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return signal.Signals(os.WSTOPSIG(status)).name
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return os.WEXITSTATUS(status)


if __name__ == "__main__":
    main()
