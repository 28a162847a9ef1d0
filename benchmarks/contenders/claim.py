"""Claim batches of due messages from two outboxes in turns: ``databases`` (two), ``count``.

It tells the milliseconds of each claim, its commit included, for both.
"""

from __future__ import annotations

import time
from datetime import timedelta

from benchmarks.contenders.stage import argument, perform
from benchmarks.host import Claimer, core_of, make_app
from tests.rows import NOW

LIMIT = 50
CONNECTION_ID = 1
WARM_UP = 2


def main() -> None:
    given = argument()
    claimers = [
        Claimer(core_of(make_app(database)[0]), CONNECTION_ID) for database in given["databases"]
    ]
    milliseconds: list[list[float]] = [[] for _ in claimers]
    now = NOW + timedelta(days=365)  # later than whatever the filling made

    def work() -> int:
        for _ in range(WARM_UP + given["count"]):
            for claimer, taken in zip(claimers, milliseconds, strict=True):
                began = time.perf_counter()
                found = claimer.claim(LIMIT, now)
                taken.append((time.perf_counter() - began) * 1000)
                assert found == LIMIT, f"only {found} were due"
        return int(given["count"])

    perform(work, milliseconds=lambda: [taken[WARM_UP:] for taken in milliseconds])


if __name__ == "__main__":
    main()
