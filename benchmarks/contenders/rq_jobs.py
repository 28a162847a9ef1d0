"""RQ with one job a message, which sends it with Flask-Mail: ``port``, ``count``, ``redis``."""

from __future__ import annotations

import functools

import redis
from flask import Flask
from flask_mail import Mail, Message
from rq import Queue, SimpleWorker

from benchmarks.contenders.stage import argument, perform
from benchmarks.message import HTML, RECIPIENT, SENDER, TEXT, subject


@functools.cache
def make_app(port: int) -> tuple[Flask, Mail]:
    app = Flask("benchmarks")
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port, MAIL_DEFAULT_SENDER=SENDER)
    return app, Mail(app)


def deliver(port: int, title: str, text: str, html: str) -> None:
    """The job."""
    app, mail = make_app(port)
    with app.app_context():
        mail.send(Message(title, recipients=[RECIPIENT], body=text, html=html))


def main() -> None:
    given = argument()
    client = redis.Redis.from_url(given["redis"])
    client.flushdb()
    queue = Queue("mail", connection=client)
    job = "benchmarks.contenders.rq_jobs.deliver"
    queue.enqueue_many(
        [
            Queue.prepare_data(job, (given["port"], subject(number), TEXT, HTML))
            for number in range(given["count"])
        ]
    )
    worker = SimpleWorker([queue], connection=client)

    def work() -> int:
        worker.work(burst=True, logging_level="ERROR")
        failed = queue.failed_job_registry.count
        assert failed == 0, f"{failed} jobs failed"
        return int(given["count"])

    perform(work)


if __name__ == "__main__":
    main()
