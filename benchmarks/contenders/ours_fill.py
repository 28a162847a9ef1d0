"""Fill an outbox of ours: ``database``, ``port``, ``count``; ``attachment`` bytes, if any."""

from __future__ import annotations

from benchmarks.contenders.stage import argument
from benchmarks.host import add_connection, core_of, make_app, make_message


def main() -> None:
    given = argument()
    app, smtp_admin = make_app(given["database"])
    attachment = bytes(given.get("attachment", 0))
    with app.app_context():
        add_connection(smtp_admin, given["port"], 10)
        for number in range(given["count"]):
            message = make_message(number)
            if attachment:
                message.attach("data.bin", "application/octet-stream", attachment)
            smtp_admin.send(message)
    core_of(app).database.engine.dispose()


if __name__ == "__main__":
    main()
