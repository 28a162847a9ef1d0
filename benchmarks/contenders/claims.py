"""Claim batches from one outbox until nothing is due, beside others: ``database``.

Nothing is sent. The messages counted are those that were claimed; it tells the milliseconds of each
claim, its commit included.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone

from benchmarks.contenders.claim import CONNECTION_ID
from benchmarks.contenders.stage import argument, perform
from benchmarks.host import Claimer, core_of, make_app
from flask_smtp_admin.core import utc_now

LIMIT = 100
LONG_AGO = datetime(1990, 1, 1, tzinfo=timezone.utc)


def main() -> None:
    given = argument()
    core = core_of(make_app(given["database"])[0])
    claimer = Claimer(core, CONNECTION_ID)
    claimer.claim(LIMIT, LONG_AGO)  # nothing; connected, and its statement compiled
    milliseconds: list[float] = []

    def work() -> int:
        count = 0
        while True:
            began = time.perf_counter()
            found = claimer.claim(LIMIT, utc_now())
            milliseconds.append((time.perf_counter() - began) * 1000)
            if not found:
                return count
            count += found

    perform(work, milliseconds=lambda: milliseconds)


if __name__ == "__main__":
    main()
