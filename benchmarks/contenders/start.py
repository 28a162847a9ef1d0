"""The start of an application: ``ours``: with this package or without it.

Flask and Flask-SQLAlchemy are imported before, as the host has them anyway.
"""

from __future__ import annotations

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from benchmarks.contenders.stage import argument, perform


def main() -> None:
    given = argument()

    def work() -> int:
        app = Flask("benchmarks")
        app.config.update(SECRET_KEY="benchmarks", SQLALCHEMY_DATABASE_URI="sqlite://")
        SQLAlchemy(app)
        if given["ours"]:
            from flask_smtp_admin import SMTPAdmin

            SMTPAdmin(app)
        return 1

    perform(work)


if __name__ == "__main__":
    main()
