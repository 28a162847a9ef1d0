"""Send urgent messages while a worker drains a long queue of others, and see when each is there.

``database`` (a filled one), ``redis``, ``count``. It tells the milliseconds from the return of
``send()`` to the server's acceptance, and how many of the others were left at the end.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack

import redis
import sqlalchemy as sa
from flask_mail import Message as Mail

from benchmarks.contenders.stage import argument, perform
from benchmarks.contenders.surroundings import config, process, server
from benchmarks.host import core_of, make_app
from flask_smtp_admin.core import Core
from flask_smtp_admin.models import Connection, Message, Priority, Status
from tests.servers.process import free_port
from tests.waiting import wait_until

RECIPIENT = "urgent@example.com"
PAUSE = (0.05, 0.15)
"""Seconds between two urgent messages."""


def main() -> None:
    given = {**argument(), "dispatch": "rq"}
    with ExitStack() as stack:
        port = free_port()
        stamps = stack.enter_context(server(port, RECIPIENT))
        app, smtp_admin = make_app(given["database"], **config(given))
        core = core_of(app)
        _prepare(core, port)
        with redis.Redis.from_url(given["redis"]) as client:
            client.flushdb()
        stack.enter_context(app.app_context())
        stack.enter_context(process("-m", "benchmarks.contenders.wake_worker", json.dumps(given)))
        wait_until(lambda: _left(core, Status.SENT) > 0, what="the worker to begin")
        milliseconds: list[float] = []

        def work() -> int:
            for number in range(given["count"]):
                time.sleep(random.uniform(*PAUSE))
                smtp_admin.send(
                    Mail(f"No {number}", recipients=[RECIPIENT], body="Now!\n"), priority="high"
                )
                sent = time.monotonic()
                milliseconds.append((float(stamps.readline()) - sent) * 1000)
            return int(given["count"])

        perform(
            work,
            milliseconds=lambda: milliseconds,
            left=lambda: _left(core, Status.QUEUED),
        )


def _prepare(core: Core, port: int) -> None:
    """Lead the connection to our server, and make newsletters of what is due."""
    with core.database.engine.begin() as connection:
        connection.execute(sa.update(Connection).values(port=port))
        connection.execute(sa.update(Message).values(priority=Priority.LOW))


def _left(core: Core, status: Status) -> int:
    count = sa.select(sa.func.count()).select_from(Message).where(Message.status == status)
    with core.database.engine.connect() as connection:
        return int(connection.execute(count).scalar_one())


if __name__ == "__main__":
    main()
