"""Our own commands look and steer; none of them starts to deliver."""

from __future__ import annotations

import threading

from flask import Flask
from flask_mail import Message

from flask_smtp_admin.mail import current_state, submit
from flask_smtp_admin.models import Worker
from flask_smtp_admin.outbox import SendOptions
from tests.apps import MakeApp, engine_of
from tests.servers.catchall import CatchAll


def embedded(make_app: MakeApp, server: CatchAll, url: str) -> Flask:
    """An application with the first connection of its ``MAIL_*`` settings and one due message."""
    settings = {
        "MAIL_SERVER": server.host,
        "MAIL_PORT": server.port,
        "SMTP_ADMIN_DATABASE_URI": url,
    }
    with make_app(SMTP_ADMIN_DISPATCH="none", **settings).app_context():
        message = Message("Due", recipients=["ann@example.org"], body="text")
        submit(current_state(), message, SendOptions())
    return make_app(SMTP_ADMIN_DISPATCH="embedded", **settings)


def worker_threads() -> set[threading.Thread]:
    """Return the threads that deliver; another test's may be among them."""
    return {one for one in threading.enumerate() if one.name == "smtp-admin-worker"}


def test_looking_from_the_command_line_starts_no_delivery(
    make_app: MakeApp, catchall: CatchAll, sqlite_url: str
) -> None:
    app = embedded(make_app, catchall, sqlite_url)
    before = worker_threads()
    run = app.test_cli_runner().invoke
    for arguments in (
        ["status"],
        ["connections", "list"],
        ["queue", "list"],
        ["queue", "retry", "--all"],
    ):
        run(args=["smtp-admin", *arguments])
        assert worker_threads() <= before, arguments
    assert not catchall.messages
    with engine_of(app).connect() as connection:
        assert connection.execute(Worker.__table__.select()).all() == []


def test_deleting_asks_while_nothing_moves(
    make_app: MakeApp, catchall: CatchAll, sqlite_url: str
) -> None:
    app = embedded(make_app, catchall, sqlite_url)
    before = worker_threads()
    result = app.test_cli_runner().invoke(
        args=["smtp-admin", "queue", "delete", "--all"], input="y\n"
    )
    assert "1 message was deleted." in result.output
    assert worker_threads() <= before
    assert not catchall.messages
