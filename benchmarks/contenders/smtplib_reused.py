"""Plain ``smtplib``: one session, prebuilt bytes, nothing recorded: ``port``, ``count``."""

from __future__ import annotations

import smtplib

from benchmarks.contenders.stage import argument, perform
from benchmarks.message import RECIPIENT, SENDER, prebuilt


def main() -> None:
    given = argument()
    content = prebuilt()

    def work() -> int:
        with smtplib.SMTP("127.0.0.1", given["port"]) as session:
            for _ in range(given["count"]):
                session.sendmail(SENDER, [RECIPIENT], content)
        return int(given["count"])

    perform(work)


if __name__ == "__main__":
    main()
