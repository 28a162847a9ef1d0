"""What a process does until it is killed: deliver what is due, or send.

Loaded by ``tests.crashing.child``, whose hook has put the points into the engine.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from flask_mail import Message as MailMessage

from flask_smtp_admin import SMTPAdmin
from flask_smtp_admin.delivery import record
from flask_smtp_admin.delivery.lease import Pace
from flask_smtp_admin.models import Message, Status
from flask_smtp_admin.worker import Worker
from tests.apps import Host, bare_app
from tests.delivery.bench import Bench
from tests.waiting import wait_until

SESSIONS = 2
"""Of the worker that is killed."""


def deliver(database_url: str, lease: float | None = None, spoil: str = "") -> None:
    """Run a worker until nothing is due, and let it end as SIGTERM would.

    :param lease: seconds, and it is never renewed, on one session; ``None`` for the product's pace.
    :param spoil: the function of ``delivery.record`` that does nothing, and says that it did.
    """
    if spoil:
        setattr(record, spoil, lambda *_: True)
    bench = Bench(database_url, empty=False)
    if lease is None:
        worker = bench.worker(sessions=SESSIONS)
    else:
        worker = bench.worker(sessions=1, pace=fleeting(lease))
    threading.Thread(target=_stop_when_done, args=(bench, worker), daemon=True).start()
    worker.run()


def fleeting(lease: float) -> Pace:
    """A pace at which leases end soon.

    Neither heartbeat nor sweep are at work later on, nor another session: PostgreSQL keeps the locks
    of a process that is stopped in a transaction, so that nobody could take anything over.
    """
    return Pace(timedelta(seconds=lease), margin=lease / 10, renew_every=3600, sweep_every=3600)


def _stop_when_done(bench: Bench, worker: Worker) -> None:
    def is_done() -> bool:
        open_ = sa.or_(
            Message.status == Status.SENDING,
            sa.and_(Message.status == Status.QUEUED, Message.due_at <= bench.clock()),
        )
        with suppress(sa.exc.DBAPIError), bench.engine.connect() as connection:
            found = connection.execute(sa.select(Message.id).where(open_).limit(1)).scalar()
            return found is None
        return False  # the database is being restarted

    wait_until(is_done, what="the end of what is due")
    worker.stop()


def send(folder: str, database_url: str, told: str) -> None:
    """Send in every way, and say of each, when it has returned, that it has.

    Over the application's own database, in its transaction and outside, and over one of the outbox.

    :param told: the file that takes the subjects of what was sent.
    """
    host = Host(Path(folder) / "host", database_url)
    own = bare_app(Path(folder) / "own", SMTP_ADMIN_DATABASE_URI=database_url)
    own_admin = SMTPAdmin(own)
    descriptor = os.open(told, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def returned(*subjects: str) -> None:
        os.write(descriptor, "".join(f"{subject}\n" for subject in subjects).encode())

    with host.app.app_context():
        host.smtp_admin.send(mail("at once"))
        returned("at once")
        host.db.session.add(host.Order(name="an order"))
        host.smtp_admin.send(mail("with an order"))
        host.db.session.commit()
        returned("with an order")
        host.smtp_admin.send_many([mail(f"host's {n}") for n in range(3)])
        returned(*(f"host's {n}" for n in range(3)))
    with own.app_context():
        own_admin.send(mail("own"))
        returned("own")
        own_admin.send(mail("with a key"), idempotency_key="the key")
        returned("with a key")
        own_admin.send(mail("large", attached=600_000))
        returned("large")
        own_admin.send_many([mail(f"own {n}") for n in range(3)])
        returned(*(f"own {n}" for n in range(3)))


def mail(subject: str, attached: int = 0) -> MailMessage:
    message = MailMessage(subject, recipients=["ann@example.org", "ben@example.org"], body="Hello.")
    if attached:
        message.attach("some.bin", "application/octet-stream", bytes(attached))
    return message


ROLES: dict[str, Callable[..., None]] = {"deliver": deliver, "send": send}
