"""What every contender does at its beginning and end.

Owns the argument, the start signal, the clock and the line of JSON. Must not know any contender.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def argument() -> dict[str, Any]:
    """Return what the command line says."""
    found: dict[str, Any] = json.loads(sys.argv[1])
    return found


def perform(work: Callable[[], int], **more: Callable[[], Any]) -> None:
    """Say "ready", wait for the signal, work, and tell what it took.

    :param work: returns how many messages (or whatever is counted) it dealt with.
    :param more: further things to tell, asked for afterwards.
    """
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody gave the signal")
    began, cpu = time.monotonic(), _cpu()
    count = work()
    ended = time.monotonic()
    told: dict[str, Any] = {"began": began, "ended": ended, "cpu": _cpu() - cpu, "count": count}
    told |= {name: ask() for name, ask in more.items()}
    print(json.dumps(told), flush=True)


def _cpu() -> float:
    """Seconds of this process, its threads, and its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
