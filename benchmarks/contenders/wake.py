"""Send messages to an idle, warm worker, one at a time, and see when the server has each.

``database``, ``dispatch`` (``rq`` or ``embedded``), ``redis``, ``count``. It tells the milliseconds
from the return of ``send()`` to the server's acceptance.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack

import redis

from benchmarks.contenders.stage import argument, perform
from benchmarks.contenders.surroundings import config, process, server
from benchmarks.host import add_connection, make_app, make_message
from tests.servers.process import free_port

WARM_UP = 5
PAUSE = (0.03, 0.07)
"""Seconds between two messages, so that everybody sleeps when the next one comes."""


def main() -> None:
    given = argument()
    with ExitStack() as stack:
        port = free_port()
        stamps = stack.enter_context(server(port))
        app, smtp_admin = make_app(given["database"], **config(given))
        stack.enter_context(app.app_context())
        add_connection(smtp_admin, port, 3)
        if given["dispatch"] == "rq":
            with redis.Redis.from_url(given["redis"]) as client:
                client.flushdb()
            stack.enter_context(
                process("-m", "benchmarks.contenders.wake_worker", json.dumps(given))
            )

        def once(number: int) -> float:
            smtp_admin.send(make_message(number))
            sent = time.monotonic()
            return (float(stamps.readline()) - sent) * 1000

        for number in range(WARM_UP):
            once(number)
        milliseconds: list[float] = []

        def work() -> int:
            for number in range(given["count"]):
                time.sleep(random.uniform(*PAUSE))
                milliseconds.append(once(number))
            return int(given["count"])

        perform(work, milliseconds=lambda: milliseconds)


if __name__ == "__main__":
    main()
