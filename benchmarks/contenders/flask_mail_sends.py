"""Flask-Mail as people use it, ``send()`` for each: ``port``, ``count``; ``block``: in one ``connect()``."""

from __future__ import annotations

from contextlib import nullcontext

from flask import Flask
from flask_mail import Mail

from benchmarks.contenders.stage import argument, perform
from benchmarks.host import make_message
from benchmarks.message import SENDER


def main() -> None:
    given = argument()
    app = Flask("benchmarks")
    app.config.update(
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=given["port"],
        MAIL_DEFAULT_SENDER=SENDER,
        MAIL_MAX_EMAILS=None,
    )
    mail = Mail(app)

    def work() -> int:
        with app.app_context(), mail.connect() if given["block"] else nullcontext(mail) as sender:
            for number in range(given["count"]):
                sender.send(make_message(number))
        return int(given["count"])

    perform(work)


if __name__ == "__main__":
    main()
