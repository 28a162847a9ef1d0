"""Requests that send nothing, to an application with and one without this package: ``count``.

It tells the microseconds of each request, without and with, in turns. The application is called as a
server calls it; its view returns two letters, so that nothing hides a cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.test import EnvironBuilder

from benchmarks.contenders.stage import argument, perform
from flask_smtp_admin import SMTPAdmin

BLOCK = 50
"""Requests in a row; more are averaged into one figure, which a clock's own cost cannot blur."""


def main() -> None:
    given = argument()
    calls = [_caller(_app(ours=ours)) for ours in (False, True)]
    microseconds: list[list[float]] = [[], []]

    def work() -> int:
        for number in range(given["count"] // BLOCK + 2):
            for call, taken in zip(calls, microseconds, strict=True):
                began = time.perf_counter()
                for _ in range(BLOCK):
                    call()
                if number >= 2:  # the first ones build caches
                    taken.append((time.perf_counter() - began) / BLOCK * 1e6)
        return int(given["count"])

    perform(work, microseconds=lambda: microseconds)


def _app(*, ours: bool) -> Flask:
    app = Flask("benchmarks")
    app.config.update(
        SECRET_KEY="benchmarks",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        **({"SMTP_ADMIN_DISPATCH": "none"} if ours else {}),
    )
    SQLAlchemy(app)
    if ours:
        SMTPAdmin(app)
    app.add_url_rule("/", view_func=lambda: "ok")
    return app


def _caller(app: Flask) -> Callable[[], None]:
    environment = EnvironBuilder("/").get_environ()

    def start_response(status: str, headers: object, error: object = None) -> Callable[..., Any]:
        assert status.startswith("200"), status
        return lambda _: None

    def call() -> None:
        response: Any = app(dict(environment), start_response)
        for _ in response:
            pass
        response.close()

    return call


if __name__ == "__main__":
    main()
