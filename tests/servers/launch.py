"""Become a server that does not outlive the process that started it.

Run as a script: ``python launch.py PARENT_PID USER COMMAND...``. An own small program, because
``preexec_fn`` is not safe in a process with threads, and because the death signal has to be set
after the change of user, which would clear it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux for SIGKILL when the parent's thread ends; elsewhere do nothing."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        sys.exit("the process that started this server has ended")


def become(user: str) -> None:
    """Give up root for ``user``; an empty name changes nothing."""
    if not user:
        return
    import pwd

    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main(parent: str, user: str, *command: str) -> None:
    become(user)
    die_with_parent(int(parent))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
