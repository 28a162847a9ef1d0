"""Fill a queue of django-post_office: ``database``, ``count``."""

from __future__ import annotations

from benchmarks.contenders.stage import argument
from benchmarks.django_host import migrate
from benchmarks.post_office_host import message, start


def main() -> None:
    given = argument()
    start(given["database"])
    migrate()
    from post_office import mail

    mail.send_many([message(number) for number in range(given["count"])])


if __name__ == "__main__":
    main()
