"""The command ``flask smtp-admin worker`` of an application: ``database``, ``redis``."""

from __future__ import annotations

from flask.cli import ScriptInfo

from benchmarks.contenders.stage import argument
from benchmarks.host import make_app
from flask_smtp_admin.cli import smtp_admin_cli


def main() -> None:
    given = argument()
    config = {"SMTP_ADMIN_DISPATCH": "rq", "SMTP_ADMIN_REDIS_URL": given["redis"]}
    app, _ = make_app(given["database"], **config)
    smtp_admin_cli.main(args=["worker"], obj=ScriptInfo(create_app=lambda: app))


if __name__ == "__main__":
    main()
