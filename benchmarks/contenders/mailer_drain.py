"""django-mailer drains its queue with ``send_all``: ``database``, ``port``."""

from __future__ import annotations

from benchmarks.contenders.stage import argument, perform
from benchmarks.django_host import set_up, warm_up


def main() -> None:
    given = argument()
    set_up(given["database"], "mailer", port=given["port"], MAILER_USE_FILE_LOCK=False)
    from mailer.engine import send_all
    from mailer.models import Message, MessageLog

    warm_up()

    def work() -> int:
        send_all()
        assert not Message.objects.exists(), "it left something"
        return int(MessageLog.objects.count())

    perform(work)


if __name__ == "__main__":
    main()
