"""A host application as other processes load it: ``FLASK_APP=tests.dispatch.hostapp``.

What it is to be comes from the environment, as a deployed application's settings do.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import click
from flask import Flask
from flask_mail import Message

from flask_smtp_admin import SMTPAdmin, signals, worker
from flask_smtp_admin.delivery.lease import Pace
from flask_smtp_admin.dispatch import embedded
from tests.apps import bare_app
from tests.waiting import wait_until


def create_app() -> Flask:
    folder = Path(os.environ["HOST_FOLDER"])
    app = bare_app(
        folder,
        SMTP_ADMIN_DATABASE_URI=os.environ["HOST_DATABASE"],
        SMTP_ADMIN_REDIS_URL=os.environ.get("HOST_REDIS") or None,
        SMTP_ADMIN_DISPATCH=os.environ["HOST_DISPATCH"],
    )
    if "HOST_LEASE" in os.environ:
        worker.PACE = Pace(
            lease=timedelta(seconds=float(os.environ["HOST_LEASE"])),
            margin=0.3,
            renew_every=0.5,
            sweep_every=0.3,
        )
    if "HOST_HURRY" in os.environ:
        app.config["SMTP_ADMIN_EXIT_SECONDS"] = int(os.environ["HOST_HURRY"])
        embedded.HAND_SECONDS = int(os.environ["HOST_HURRY"])
    smtp_admin = SMTPAdmin(app)
    _note_signals(app, folder / "signals")
    _add_commands(app, smtp_admin)
    return app


def _note_signals(app: Flask, path: Path) -> None:
    def note(sender: Flask, event: signals.Event) -> None:
        with path.open("a") as notes:
            notes.write(f"{event.code} {event.message_id} {os.getpid()}\n")
        raise LookupError("a receiver's own error harms nothing")

    for signal in signals.BY_CODE.values():
        signal.connect(note, sender=app, weak=False)


def _add_commands(app: Flask, smtp_admin: SMTPAdmin) -> None:
    def send(number: int) -> None:
        smtp_admin.send(Message(f"No {number}", recipients=["ann@example.org"], body="Hello."))

    @app.cli.command("send")
    @click.argument("count", type=int)
    def send_command(count: int) -> None:
        """Send so many messages and end."""
        for number in range(count):
            send(number)

    @app.cli.command("fork")
    def fork_command() -> None:
        """Send a message, and another one from a forked process that ends as one does."""
        send(1)
        wait_until(lambda: "message_sent 1 " in (Path(app.instance_path) / "signals").read_text())
        child = os.fork()
        if child == 0:
            with app.app_context():
                send(2)
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        send(3)
        sys.exit(os.waitstatus_to_exitcode(status))
