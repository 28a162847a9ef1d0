"""One worker process of ours drains the queue: ``database``, ``sessions``, ``limit``.

Every message gets its outcome and an attempt, committed; ``limit`` is how many sessions all workers
together may have. It also tells its memory: before it began, and at most.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders.stage import argument, perform
from benchmarks.host import core_of, limit_sessions, make_app, make_worker


def main() -> None:
    given = argument()
    app, _ = make_app(given["database"])
    core = core_of(app)
    limit_sessions(core, given["limit"])
    worker = make_worker(core, given["sessions"])
    before = memory("VmRSS")
    perform(worker.drain, memory_before=lambda: before, memory_peak=lambda: memory("VmHWM"))


def memory(field: str) -> int:
    """Return the bytes that this process has (VmRSS), or had at most (VmHWM); 0 where unknown.

    Not ``getrusage``, whose maximum begins with that of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
