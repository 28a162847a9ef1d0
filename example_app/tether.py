"""Run a command that does not outlive the process that wanted it.

``python tether.py PARENT_PID COMMAND …``. Owns the tie between the two. An own small program, since
Python's ``preexec_fn`` is not safe in a process with threads; run as a file, so that it imports
nothing else.

On Linux the kernel keeps the tie: this program asks for it and becomes the command. Elsewhere it
stays as the command's parent and looks after it; ``--watch`` chooses that way on Linux, too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

PR_SET_PDEATHSIG = 1
LOOK_EVERY = 0.2
"""Seconds; only where the kernel does not tell."""


def become(parent: int, command: list[str]) -> None:
    """Ask Linux for SIGKILL when the parent's thread ends, and become the command.

    SIGKILL, because nobody is left who would wait for a slower end; all that the example's
    processes hold is stored at every moment.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  (no shell is wanted)


def watch(parent: int, command: list[str], descriptors: tuple[int, ...]) -> int:
    """Run the command until it ends or the parent is gone, and return its exit code."""
    child = subprocess.Popen(command, pass_fds=descriptors)  # noqa: S603  (the caller's own words)
    for (
        descriptor
    ) in descriptors:  # the command's, not ours: its end must be seen at the other side
        os.close(descriptor)

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    while (code := child.poll()) is None:
        if os.getppid() != parent:
            child.kill()
        time.sleep(LOOK_EVERY)
    return code


def main(arguments: list[str]) -> None:
    """Read ``[--watch] [--pass N,N] PARENT_PID COMMAND …`` and do it."""
    watching = sys.platform != "linux"
    if arguments[0] == "--watch":
        watching, arguments = True, arguments[1:]
    descriptors: tuple[int, ...] = ()
    if arguments[0] == "--pass":
        descriptors = tuple(map(int, arguments[1].split(",")))
        arguments = arguments[2:]
    parent, command = int(arguments[0]), arguments[1:]
    if watching:
        sys.exit(watch(parent, command, descriptors))
    become(parent, command)


if __name__ == "__main__":
    main(sys.argv[1:])
