"""Our ``send``, one by one: ``database``, ``count``; ``many``: our ``send_many`` instead."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.stage import argument, perform
from benchmarks.host import make_app, make_message


def main() -> None:
    given = argument()
    count: int = given["count"]
    app, smtp_admin = make_app(given["database"])
    with app.app_context():
        smtp_admin.send(make_message(count))  # the first one opens the database

        def one_by_one() -> int:
            for number in range(count):
                smtp_admin.send(make_message(number))
            return count

        def many() -> int:
            send_many: Any = getattr(smtp_admin, "send_many")  # noqa: B009  (it may not be there)
            send_many([make_message(number) for number in range(count)])
            return count

        perform(many if given["many"] else one_by_one)


if __name__ == "__main__":
    main()
