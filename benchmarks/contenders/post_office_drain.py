"""django-post_office drains its queue: ``database``, ``port``.

It stores the outcomes of a batch together, after the last one.
"""

from __future__ import annotations

from benchmarks.contenders.stage import argument, perform
from benchmarks.django_host import warm_up
from benchmarks.post_office_host import start


def main() -> None:
    given = argument()
    start(given["database"], port=given["port"])
    from post_office import mail

    warm_up()

    def work() -> int:
        count = 0
        while sent := mail.send_queued()[0]:
            count += sent
        return count

    perform(work)


if __name__ == "__main__":
    main()
