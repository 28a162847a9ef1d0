"""Fill a queue of django-mailer: ``database``, ``count``."""

from __future__ import annotations

from benchmarks.contenders.stage import argument
from benchmarks.django_host import migrate, set_up
from benchmarks.message import HTML, RECIPIENT, SENDER, TEXT, subject


def main() -> None:
    given = argument()
    set_up(given["database"], "mailer")
    migrate()
    from django.db import transaction
    from mailer import send_html_mail

    with transaction.atomic():
        for number in range(given["count"]):
            send_html_mail(subject(number), TEXT, HTML, SENDER, [RECIPIENT])


if __name__ == "__main__":
    main()
