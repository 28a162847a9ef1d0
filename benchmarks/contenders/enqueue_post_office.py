"""django-post_office's ``mail.send``, one by one: ``database``, ``count``; ``many``: ``send_many``."""

from __future__ import annotations

from benchmarks.contenders.stage import argument, perform
from benchmarks.post_office_host import message, start


def main() -> None:
    given = argument()
    count: int = given["count"]
    start(given["database"])
    from post_office import mail

    mail.send(**message(count))  # the first one opens the database

    def one_by_one() -> int:
        for number in range(count):
            mail.send(**message(number))
        return count

    def many() -> int:
        mail.send_many([message(number) for number in range(count)])
        return count

    perform(many if given["many"] else one_by_one)


if __name__ == "__main__":
    main()
