"""A disk that is full while a message is being stored: a clear error, and nothing half stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_mail import Message as MailMessage
from sqlalchemy.exc import DBAPIError

from flask_smtp_admin import SMTPAdmin
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import Message, MessageBody, Recipient
from tests.apps import Host, bare_app, core_of, engine_of
from tests.servers.full_disk import full_for_postgres, full_for_sqlite

EVENTS = [
    "INSERT ON smtp_admin_message",
    "INSERT ON smtp_admin_recipient",
    "INSERT ON smtp_admin_message_body",
]
"""What is stored of a message: at each the disk may have come to its end."""


@contextmanager
def full(engine: sa.Engine, event: str) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        with full_for_sqlite(engine):
            yield
    else:
        with full_for_postgres(engine, event):
            yield


def mail(subject: str, size: int = 10) -> MailMessage:
    message = MailMessage(subject, recipients=["ann@example.org"], body="Hello.")
    message.attach("some.bin", "application/octet-stream", bytes(size))
    return message


def one(admin: SMTPAdmin) -> None:
    admin.send(mail("meanwhile"))


def large(admin: SMTPAdmin) -> None:
    admin.send(mail("meanwhile", 600_000))


def many(admin: SMTPAdmin) -> None:
    admin.send_many([mail("meanwhile"), mail("and this")])


WAYS: dict[str, Callable[[SMTPAdmin], None]] = {"one": one, "large": large, "many": many}


def stored(engine: sa.Engine) -> tuple[list[str], int, int]:
    """The subjects, and how many messages have recipients and bytes."""
    with engine.connect() as connection:
        subjects = connection.scalars(sa.select(Message.subject).order_by(Message.id)).all()
        counts = [
            connection.scalar(sa.select(sa.func.count(sa.distinct(table.message_id))))
            for table in (Recipient, MessageBody)
        ]
    return list(subjects), counts[0] or 0, counts[1] or 0


@pytest.fixture(params=["sqlite", *EVENTS])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The URL of a database, and what it has no room for any more."""
    name = "sqlite" if request.param == "sqlite" else "postgres"
    return request.getfixturevalue(f"{name}_url"), request.param


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_half_stored_in_a_database_of_its_own(
    way: str, place: tuple[str, str], tmp_path: Path
) -> None:
    url, event = place
    app = bare_app(tmp_path / "instance", SMTP_ADMIN_DATABASE_URI=url)
    admin = SMTPAdmin(app)
    with app.app_context():
        admin.send(mail("before"))
        with (
            full(engine_of(app), event),
            pytest.raises(OutboxUnavailable, match="room on its disk"),
        ):
            WAYS[way](admin)
        admin.send(mail("after"))
    assert stored(engine_of(app)) == (["before", "after"], 2, 2)
    _dispose(app)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_half_stored_in_the_host_s_database(
    way: str, place: tuple[str, str], tmp_path: Path
) -> None:
    url, event = place
    host = Host(tmp_path / "instance", url)
    with host.app.app_context():
        host.smtp_admin.send(mail("before"))
        with full(engine_of(host.app), event), _refused():
            WAYS[way](host.smtp_admin)
        host.smtp_admin.send(mail("after"))
    assert stored(engine_of(host.app)) == (["before", "after"], 2, 2)
    assert host.told() == ["before", "after"]
    host.close()


def test_a_transaction_of_the_host_that_has_no_room_loses_all_of_it(
    place: tuple[str, str], tmp_path: Path
) -> None:
    url, event = place
    host = Host(tmp_path / "instance", url)
    with host.app.app_context():
        host.smtp_admin.send(mail("before"))
        session = host.db.session
        with full(engine_of(host.app), event), pytest.raises((OutboxUnavailable, DBAPIError)):
            _order(host)
        session.rollback()
    assert stored(engine_of(host.app)) == (["before"], 1, 1)
    assert host.orders() == []
    assert host.told() == ["before"]
    host.close()


def _order(host: Host) -> None:
    host.db.session.add(host.Order(name="meanwhile"))
    host.db.session.flush()
    host.smtp_admin.send(mail("meanwhile"))
    host.db.session.commit()


def _refused() -> AbstractContextManager[object]:
    return pytest.raises(OutboxUnavailable, match="room on its disk")


def _dispose(app: Flask) -> None:
    core_of(app).database.bare_engine.dispose()
