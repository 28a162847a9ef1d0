"""Look at the pages of two outboxes in turns: ``databases`` (two), ``messages`` in each, ``count``.

It tells the milliseconds that the application took for each page, for both, by the page's name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from flask.testing import FlaskClient

from benchmarks.contenders.stage import argument, perform
from benchmarks.host import make_app

WARM_UP = 2


def addresses(messages: int) -> dict[str, str]:
    """Return the pages of an outbox with so many messages; each finds a whole page, or one row."""
    deep, one = max(messages // 10, 900), messages // 2
    queue, log = "/smtp-admin/queue/", "/smtp-admin/log/"
    return {
        "queue, first": queue,
        "queue, deep": f"{queue}?before={deep}",
        "queue, filtered": f"{queue}?tab=failed",
        "queue, one recipient": f"{queue}?q=to:user{one}@example.org",
        "queue, a subject": f'{queue}?q=subject:"order+{one}"',
        "queue, a word": f"{queue}?q={one}",
        "log, first": log,
        "log, deep": f"{log}?before={deep}",
        "log, filtered": f"{log}?tab=fail",
        "log, one recipient": f"{log}?q=to:user{one}@example.org",
        "log, a subject": f'{log}?q=subject:"order+{one}"',
        "log, a word": f"{log}?q={one}",
        "log, a code": f"{log}?q=code:550",
    }


def main() -> None:
    given = argument()
    clients = [_client(database) for database in given["databases"]]
    pages = [addresses(messages) for messages in given["messages"]]
    milliseconds: dict[str, list[list[float]]] = {name: [[], []] for name in pages[0]}

    def work() -> int:
        for number in range(WARM_UP + given["count"]):
            for name, taken in milliseconds.items():
                for client, page, times in zip(clients, pages, taken, strict=True):
                    time_taken = _look(client, page, name)
                    if number >= WARM_UP:
                        times.append(time_taken)
        return int(given["count"])

    perform(work, milliseconds=lambda: milliseconds)


def _client(database: str) -> FlaskClient:
    app, smtp_admin = make_app(database)
    smtp_admin.authorize(lambda _: True)
    return app.test_client()


def _look(client: FlaskClient, page: Mapping[str, str], name: str) -> float:
    began = time.perf_counter()
    answer = client.get(page[name])
    taken = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, f"{page[name]} answers {answer.status}"
    return taken


if __name__ == "__main__":
    main()
