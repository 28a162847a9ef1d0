"""The outbox: what ``send`` takes, what it stores, and what it refuses."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_mail import Message as FlaskMessage

from flask_smtp_admin import OutboxMessage, SMTPAdmin, signals
from flask_smtp_admin.errors import (
    BadHeader,
    MessageError,
    MessageTooLarge,
    NoRecipients,
    OutboxUnavailable,
    SecretUnreadable,
    UnknownConnection,
)
from flask_smtp_admin.models import Connection, Message, MessageBody, Recipient
from tests.apps import Host, MakeApp, bodies, core_of, engine_of, rows_of
from tests.servers.postgres import PostgresServer

TABLES = (Message, Recipient, MessageBody)


def a_message(subject: str = "Hello", **headers: str) -> EmailMessage:
    message = EmailMessage()
    given = {"From": "shop@example.org", "To": "ada@example.org", "Subject": subject, **headers}
    for name, value in given.items():
        if value:
            message[name.replace("_", "-")] = value
    message.set_content("text")
    return message


def send(message: EmailMessage | None = None, **options: Any) -> OutboxMessage:
    return SMTPAdmin().send(message or a_message(), **options)


def row_of(app: Flask) -> dict[str, Any]:
    (row,) = rows_of(app, Message)
    return row


@contextmanager
def nothing_stored(app: Flask) -> Iterator[None]:
    """Check that the block leaves no row, no signal and no captured message."""
    heard: list[signals.Event] = []

    def note(sender: Flask, event: signals.Event) -> None:
        heard.append(event)

    with signals.message_queued.connected_to(note, sender=app):
        yield
    assert [rows_of(app, table) for table in TABLES] == [[], [], []]
    assert heard == []


# ---------------------------------------------------------------- what is stored


def test_the_row_says_what_the_pages_show(app: Flask) -> None:
    before = datetime.now(timezone.utc)
    stored = send(a_message("Grüße", Cc="Bob <Bob@Example.org>", Bcc="eve@example.org"))
    row = row_of(app)
    assert stored == OutboxMessage(row["id"], row["message_id"], "queued", row["due_at"])
    assert row["subject"] == "Grüße"
    assert row["subject_key"] == "grüsse"
    assert row["sender"] == row["from_header"] == "shop@example.org"
    assert row["first_recipient"] == "ada@example.org"
    assert row["recipient_count"] == 3
    assert row["size"] == len(bodies(app)["Grüße"])
    assert row["priority"] == 50
    assert row["attempts_count"] == row["crash_count"] == 0
    assert before <= row["created_at"] <= datetime.now(timezone.utc)
    assert row["due_at"] == row["created_at"]
    assert not row["automated"]
    assert not row["sensitive"]
    assert not row["at_most_once"]
    assert not row["pinned"]
    found = [
        (one["address"], str(one["kind"]), one["address_key"]) for one in rows_of(app, Recipient)
    ]
    assert found == [
        ("ada@example.org", "to", "ada@example.org"),
        ("Bob@Example.org", "cc", "bob@example.org"),
        ("eve@example.org", "bcc", "eve@example.org"),
    ]


def test_long_texts_are_cut_in_the_row_and_whole_in_the_bytes(host: Host) -> None:
    subject = "ß" * 2000
    message = a_message(subject, From=f"{'n' * 600} <shop@example.org>")
    with host.app.app_context():
        send(message)
    (row,) = rows_of(host.app, Message)
    assert row["subject"] == subject[:500]
    assert len(row["from_header"]) == 500
    with engine_of(host.app).connect() as connection:
        content = connection.scalar(sa.select(MessageBody.content))
    assert content is not None
    assert b"Subject:" in content


@pytest.mark.parametrize(("name", "number"), [("high", 10), ("normal", 50), ("low", 90)])
def test_priorities(app: Flask, name: str, number: int) -> None:
    send(priority=name)
    assert row_of(app)["priority"] == number


def test_flags(app: Flask) -> None:
    send(sensitive=True, at_most_once=True)
    row = row_of(app)
    assert row["sensitive"]
    assert row["at_most_once"]


# ---------------------------------------------------------------- when it leaves


def delay_of(app: Flask) -> timedelta:
    row = row_of(app)
    delay: timedelta = row["due_at"] - row["created_at"]
    return delay


@pytest.mark.parametrize(
    ("delay", "seconds"), [(90, 90), (0.5, 0.5), (timedelta(minutes=2), 120), (0, 0)]
)
def test_a_delay(app: Flask, delay: Any, seconds: float) -> None:
    send(delay=delay)
    assert delay_of(app) == timedelta(seconds=seconds)


def test_a_time(app: Flask) -> None:
    at = datetime(2099, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    stored = send(send_at=at)
    assert stored.due_at == row_of(app)["due_at"] == at


def test_a_time_in_the_past_means_now(app: Flask) -> None:
    send(send_at=datetime(2001, 1, 1, tzinfo=timezone.utc))
    assert delay_of(app) == timedelta(0)


def test_an_end(app: Flask) -> None:
    ends = datetime(2099, 1, 1, tzinfo=timezone.utc)
    send(expires_at=ends)
    assert row_of(app)["expires_at"] == ends


@pytest.mark.parametrize(
    ("header", "automated", "waits"),
    [
        ("", None, False),
        ("no", None, False),
        ("auto-generated", None, True),
        ("Auto-Replied; owner=x", None, True),
        ("auto-generated", False, False),
        ("", True, True),
    ],
)
def test_automated_mail_waits(
    make_app: MakeApp, header: str, automated: bool | None, waits: bool
) -> None:
    app = make_app(SMTP_ADMIN_AUTOMATED_DELAY=42)
    with app.app_context():
        send(a_message(Auto_Submitted=header), automated=automated)
    assert row_of(app)["automated"] is waits
    assert delay_of(app) == timedelta(seconds=42 if waits else 0)


def test_a_delay_of_its_own_wins_over_that_of_automated_mail(app: Flask) -> None:
    send(automated=True, delay=0)
    assert row_of(app)["automated"]
    assert delay_of(app) == timedelta(0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"priority": "urgent"}, "one of 'high', 'normal', 'low'"),
        ({"delay": -1}, "must not be negative"),
        ({"delay": float("nan")}, "number of seconds"),
        ({"delay": float("inf")}, "number of seconds"),
        ({"delay": "soon"}, "number of seconds"),
        ({"delay": timedelta.max}, "no calendar reaches"),
        ({"delay": 1, "send_at": datetime.now(timezone.utc)}, "not both"),
        ({"send_at": datetime(2099, 1, 1)}, "no time zone"),  # noqa: DTZ001  (the point of it)
        ({"send_at": "tomorrow"}, "aware datetime"),
        ({"send_at": datetime.max.replace(tzinfo=timezone.utc)}, "more than a hundred years away"),
        ({"delay": timedelta(days=36_526)}, "more than a hundred years away"),
        ({"expires_at": datetime.max.replace(tzinfo=timezone.utc)}, "is not to expire"),
        (
            {"expires_at": datetime.max.replace(tzinfo=timezone(-timedelta(hours=9)))},
            "a hundred years",
        ),
        ({"expires_at": datetime(2099, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"expires_at": datetime(2001, 1, 1, tzinfo=timezone.utc)}, "before it is due"),
        (
            {"delay": 3600, "expires_at": datetime.now(timezone.utc) + timedelta(minutes=1)},
            "before it is due",
        ),
        ({"max_attempts": 0}, "whole number from 1 to 100"),
        ({"max_attempts": 101}, "whole number from 1 to 100"),
        ({"max_attempts": True}, "whole number from 1 to 100"),
        ({"max_attempts": "3"}, "whole number from 1 to 100"),
        ({"idempotency_key": ""}, "1 to 200 characters"),
        ({"idempotency_key": "x" * 201}, "1 to 200 characters"),
        ({"idempotency_key": 7}, "must be a text"),
        ({"idempotency_key": "x "}, "white space"),
        ({"idempotency_key": "x\x00y"}, "control character"),
    ],
)
def test_impossible_options_are_explained(
    app: Flask, options: dict[str, Any], sentence: str
) -> None:
    with nothing_stored(app), pytest.raises(MessageError) as caught:
        send(**options)
    assert sentence in str(caught.value)


# ---------------------------------------------------------------- what cannot be sent


def test_nobody_to_send_to(app: Flask) -> None:
    with nothing_stored(app), pytest.raises(NoRecipients, match="To, Cc or Bcc"):
        send(a_message(To=""))


def test_no_sender_anywhere(make_app: MakeApp) -> None:
    app = make_app(MAIL_DEFAULT_SENDER=None)
    with app.app_context(), nothing_stored(app), pytest.raises(MessageError, match="no sender"):
        send(a_message(From=""))


def test_the_sender_of_the_first_connection_stands_in(make_app: MakeApp) -> None:
    app = make_app(MAIL_DEFAULT_SENDER=None)
    with app.app_context():
        add_connection("Main")
        send(a_message(From=""))
    assert row_of(app)["sender"] == "main@example.org"
    assert b"From: Main <main@example.org>\r\n" in bodies(app)["Hello"]


class Raw(EmailMessage):
    """A message whose headers hold what the standard library would refuse."""

    def spoil(self, name: str, value: str) -> None:
        del self[name]
        self._headers.append((name, value))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "control", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x1b", "\x7f", "\x85", "\u2028"]
)
@pytest.mark.parametrize(
    "name", ["Subject", "From", "To", "Cc", "Bcc", "Reply-To", "Message-ID", "X-Id", "Date"]
)
def test_a_control_character_in_any_header(app: Flask, name: str, control: str) -> None:
    message = Raw()
    message["From"], message["To"] = "shop@example.org", "ada@example.org"
    message.set_content("text")
    value = {"Subject": "a%sb", "Message-ID": "<a%s@example.org>", "X-Id": "a%sb"}.get(
        name, "eve%sx@example.org"
    )
    message.spoil(name, value % control)
    with nothing_stored(app), pytest.raises(MessageError):
        send(message)


def test_a_header_cannot_add_a_recipient(app: Flask) -> None:
    message = Raw()
    message["From"], message["To"] = "shop@example.org", "ada@example.org"
    message.set_content("text")
    message.spoil("Subject", "Hello\r\nBcc: all@example.org")
    with nothing_stored(app), pytest.raises(BadHeader, match="control character"):
        send(message)


def test_too_large(make_app: MakeApp) -> None:
    app = make_app(SMTP_ADMIN_MAX_MESSAGE_BYTES=10_000)
    message = a_message()
    message.add_attachment(b"x" * 20_000, maintype="application", subtype="octet-stream")
    with app.app_context(), nothing_stored(app), pytest.raises(MessageTooLarge, match="MiB"):
        send(message)


def test_larger_than_25_mib_by_default(app: Flask) -> None:
    message = a_message()
    message.add_attachment(bytes(20 * 2**20), maintype="application", subtype="octet-stream")
    with nothing_stored(app), pytest.raises(MessageTooLarge, match=r"25\.0 MiB"):
        send(message)


def test_twenty_mib_come_back_identical(host: Host) -> None:
    """MariaDB takes 16 MiB in one packet by default."""
    message = a_message()
    noise = bytes(range(256)) * (15 * 2**20 // 256)
    message.add_attachment(noise, maintype="application", subtype="octet-stream")
    with host.app.app_context():
        host.db.session.add(host.Order(name="shares the transaction"))
        send(message)
        host.db.session.commit()
    (content,) = bodies(host.app).values()
    assert len(content) == rows_of(host.app, Message)[0]["size"] > 20 * 2**20
    read = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    (part,) = read.iter_attachments()
    assert part.get_content() == noise


# ---------------------------------------------------------------- idempotency keys


def test_a_repeated_key_returns_the_first_message(host: Host) -> None:
    with host.app.app_context():
        first = send(a_message("first"), idempotency_key="order-1")
        again = send(a_message("again"), idempotency_key="order-1", delay=60)
        other = send(a_message("other"), idempotency_key="order-2")
    assert not first.duplicate
    assert again == OutboxMessage(
        first.id, first.message_id, first.status, first.due_at, duplicate=True
    )
    assert not other.duplicate
    assert host.stored() == ["first", "other"]
    assert host.told() == ["first", "other"]


@pytest.mark.parametrize("other", ["Order-1", "ördér-1", "order-\uff11"])
def test_keys_are_compared_exactly(host: Host, other: str) -> None:
    with host.app.app_context():
        send(a_message("one"), idempotency_key="order-1")
        assert not send(a_message("two"), idempotency_key=other).duplicate
    assert host.stored() == ["one", "two"]


def test_a_key_within_the_caller_s_transaction(host: Host) -> None:
    with host.app.app_context():
        session = host.db.session
        session.add(host.Order(name="a"))
        first = send(a_message("one"), idempotency_key="k")
        assert send(a_message("two"), idempotency_key="k").id == first.id
        assert host.stored() == []
        session.rollback()
        assert host.stored() == []
        session.add(host.Order(name="a"))
        assert not send(a_message("three"), idempotency_key="k").duplicate
        session.commit()
        session.add(host.Order(name="b"))
        assert send(a_message("four"), idempotency_key="k").duplicate
        session.commit()
    assert host.stored() == ["three"]
    assert host.told() == ["three"]
    assert sorted(host.orders()) == ["a", "b"]


@pytest.mark.parametrize("joined", [False, True], ids=["at once", "in a transaction"])
def test_a_race_of_equal_keys_stores_one_message(
    database_url: str, tmp_path: Path, joined: bool
) -> None:
    """Every thread has seen the table without the key before any of them writes it."""
    count = 8
    options = {"pool_size": 2 * count}
    host = Host(tmp_path / "instance", database_url, SQLALCHEMY_ENGINE_OPTIONS=options)
    barrier = Barrier(count)
    snapshot = not database_url.startswith("sqlite")

    def work(number: int) -> OutboxMessage:
        with host.app.app_context():
            session = host.db.session
            if joined and snapshot:
                # Begins the snapshot that MariaDB shows to the whole transaction.
                session.execute(sa.insert(host.Order).values(name=str(number)))
                session.execute(sa.select(Message.__table__.c.id)).all()
            elif joined:
                session.add(host.Order(name=str(number)))
            barrier.wait()
            stored = send(a_message(str(number)), idempotency_key="one")
            session.commit()
            return stored

    try:
        with ThreadPoolExecutor(count) as threads:
            results = list(threads.map(work, range(count)))
        assert len({result.id for result in results}) == 1
        assert sum(not result.duplicate for result in results) == 1
        assert len(host.stored()) == 1
        assert len(host.queued) == 1
        assert len(host.orders()) == (count if joined else 0)
    finally:
        host.close()


# ---------------------------------------------------------------- routing


def add_connection(caption: str, patterns: str = "", **fields: Any) -> int:
    return SMTPAdmin().add_connection(
        **{
            "caption": caption,
            "host": "mail.example.org",
            "port": 25,
            "encryption": "none",
            "sender_name": caption,
            "sender_address": f"{caption.lower()}@example.org",
            "use_auth": False,
            "sender_patterns": patterns,
            **fields,
        }
    )


def carried_by(app: Flask, **options: Any) -> str | None:
    sender = options.pop("sender", "shop@example.org")
    number = send(a_message(From=sender), **options).id
    with engine_of(app).connect() as connection:
        found: str | None = connection.scalar(
            sa.select(Connection.caption)
            .join(Message, Message.connection_id == Connection.id)
            .where(Message.id == number)
        )
    return found


def test_with_no_connection_it_waits_for_the_first_one(app: Flask) -> None:
    assert carried_by(app) is None
    add_connection("First")
    assert {row["connection_id"] for row in rows_of(app, Message)} == {1}


def test_the_order_of_the_list_decides(app: Flask) -> None:
    add_connection("First")
    add_connection("Second")
    assert carried_by(app) == "First"


def test_a_pattern_that_names_the_sender_comes_first(app: Flask) -> None:
    add_connection("General")
    add_connection("News", "news@example.org\n*@news.example.org")
    add_connection("All", "*")
    assert carried_by(app, sender="NEWS@Example.org") == "News"
    assert carried_by(app, sender="Team <any@news.example.org>") == "News"
    assert carried_by(app, sender="shop@example.org") == "All"


def test_a_sender_that_no_connection_carries_waits(app: Flask) -> None:
    add_connection("News", "news@example.org")
    assert carried_by(app, sender="shop@example.org") is None


def test_a_disabled_connection_is_passed_over(app: Flask) -> None:
    add_connection("First")
    add_connection("Off", "shop@example.org", enabled=False)
    assert carried_by(app) == "First"


def test_the_caller_may_choose(app: Flask) -> None:
    add_connection("First")
    number = add_connection("Second")
    assert carried_by(app, connection="Second") == "Second"
    assert carried_by(app, connection=number) == "Second"
    assert [row["pinned"] for row in rows_of(app, Message)] == [True, True]


@pytest.mark.parametrize("wanted", ["Straße", "STRASSE", "straße"])
def test_capitals_make_no_difference_in_a_caption(host: Host, wanted: str) -> None:
    with host.app.app_context():
        add_connection("First")
        number = add_connection("Straße")
        send(connection=wanted)
        (row,) = rows_of(host.app, Message)
        assert row["connection_id"] == number


@pytest.mark.parametrize("wanted", ["Nobody", "First ", "Fírst", 99, 0, -1, 2**40, 10**30])
def test_a_connection_that_does_not_exist(host: Host, wanted: str | int) -> None:
    with host.app.app_context():
        add_connection("First")
        with nothing_stored(host.app), pytest.raises(UnknownConnection, match="There is no conn"):
            send(connection=wanted)


@pytest.mark.parametrize(
    ("patterns", "sender", "fits"),
    [
        ("a@b.example", "a@b.example", True),
        ("A@B.example", "a@b.EXAMPLE", True),
        ("*@b.example", "x@b.example", True),
        ("*@b.example", "x@sub.b.example", False),
        ("*", "x@y.example", True),
        ("c@d.example\r\n  a@b.example  \n*@e.example", "a@b.example", True),
        ("*@example", "x@b.example", False),
        ("a@b.example", "aa@b.example", False),
        ("aa@b.example", "a@b.example", False),
        ("JOS\u00c9@b.example", "jos\u00e9@b.example", True),
        # What a database may hold for equal, or for a placeholder.
        ("jos\u00e9@b.example", "jose@b.example", False),
        ("a_b@b.example", "axb@b.example", False),
        ("a%b@b.example", "axb@b.example", False),
    ],
)
def test_patterns(host: Host, patterns: str, sender: str, fits: bool) -> None:
    with host.app.app_context():
        number = add_connection("Named", patterns)
        send(a_message(From=sender))
    assert rows_of(host.app, Message)[0]["connection_id"] == (number if fits else None)


# ---------------------------------------------------------------- when the database does not answer


def test_a_locked_sqlite_says_so_and_nothing_is_lost(sqlite_url: str, tmp_path: Path) -> None:
    options = {"connect_args": {"timeout": 0.05}}
    host = Host(tmp_path / "instance", sqlite_url, SQLALCHEMY_ENGINE_OPTIONS=options)
    other = sa.create_engine(sqlite_url)
    with host.app.app_context():
        send(a_message("before"))
        with other.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(OutboxUnavailable, match="locked by another writer"):
                send(a_message("meanwhile"))
            connection.rollback()
        send(a_message("after"))
    assert host.stored() == ["before", "after"]
    assert host.told() == ["before", "after"]
    other.dispose()
    host.close()


def test_a_database_that_is_away_says_so_and_nothing_is_lost(tmp_path: Path) -> None:
    with PostgresServer() as server, server.database() as url:
        host = Host(tmp_path / "instance", url, SQLALCHEMY_ENGINE_OPTIONS={"pool_pre_ping": True})
        with host.app.app_context():
            send(a_message("before"))
            server.stop()
            with pytest.raises(OutboxUnavailable, match="Check that it runs"):
                send(a_message("meanwhile"))
            server.start()
            send(a_message("after"))
            assert host.stored() == ["before", "after"]
        host.close()


def test_the_wrong_name_of_a_database_is_not_one_without_tables(
    make_app: MakeApp, postgres_url: str
) -> None:
    app = make_app(SMTP_ADMIN_DATABASE_URI=f"{postgres_url}_elsewhere")
    with app.app_context(), pytest.raises(OutboxUnavailable, match="that its address is right"):
        send()


def test_a_full_database_says_so_and_nothing_is_lost(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(SMTP_ADMIN_DATABASE_URI=f"sqlite:///{tmp_path / 'full.sqlite'}")
    with app.app_context():
        send(a_message("before"))
        engine = engine_of(app)

        @sa.event.listens_for(engine, "checkout")
        def bound(driver: Any, *_: object) -> None:
            driver.execute(f"PRAGMA max_page_count = {pages}")

        pages = 1
        big = a_message("meanwhile")
        big.add_attachment(bytes(2**20), maintype="application", subtype="octet-stream")
        with pytest.raises(OutboxUnavailable, match="room on its disk"):
            send(big)
        pages = 2**30
        send(a_message("after"))
    assert [row["subject"] for row in rows_of(app, Message)] == ["before", "after"]


def test_a_password_under_another_key_is_kept_and_explained(make_app: MakeApp) -> None:
    """The message waits; the stored password is never overwritten."""
    app = make_app()
    with app.app_context():
        add_connection("Main", use_auth=True, username="me", password="swordfish")
    (before,) = rows_of(app, Connection)
    other = make_app(
        SECRET_KEY="another-key-altogether",
        SMTP_ADMIN_DATABASE_URI=f"sqlite:///{app.instance_path}/smtp-admin.sqlite3",
    )
    with other.app_context():
        assert carried_by(other) == "Main"
    with core_of(other).database.session() as session:
        connection = session.scalars(sa.select(Connection)).one()
        with pytest.raises(SecretUnreadable, match="SECRET_KEY_FALLBACKS"):
            connection.password(core_of(other).keys)
    (after,) = rows_of(app, Connection)
    assert after["password_token"] == before["password_token"]


# ---------------------------------------------------------------- many at once


def test_many_messages_are_stored_in_one_transaction(make_app: MakeApp) -> None:
    app = make_app()
    heard: list[str | None] = []

    def hear(sender: Flask, event: signals.Event) -> None:
        heard.append(event.subject)

    with app.app_context(), signals.message_queued.connected_to(hear, sender=app):
        stored = SMTPAdmin().send_many(
            (a_message(subject=f"No {n}") for n in range(30)), priority="low"
        )
        assert SMTPAdmin().send_many([]) == []
    assert [one.id for one in stored] == list(range(1, 31))
    assert heard == [f"No {n}" for n in range(30)]
    rows = rows_of(app, Message)
    assert [row["subject"] for row in rows] == heard
    assert len(bodies(app)) == 30


def test_of_many_messages_with_a_bad_one_none_is_stored(make_app: MakeApp) -> None:
    app = make_app()
    bad = a_message(subject="bad")
    del bad["To"]
    with app.app_context(), pytest.raises(NoRecipients) as raised:
        SMTPAdmin().send_many([a_message(), bad])
    assert str(raised.value).startswith(
        "Message 2 of send_many (subject 'bad'): The message has no "
    )
    with app.app_context(), pytest.raises(NoRecipients, match=r"^Message 1 of send_many: The"):
        SMTPAdmin().send_many([bad], sensitive=True)
    with app.app_context(), pytest.raises(UnknownConnection):
        SMTPAdmin().send_many([a_message(), a_message()], connection="nowhere")
    assert rows_of(app, Message) == []


def test_of_many_messages_the_bad_one_is_named(make_app: MakeApp) -> None:
    app = make_app()
    wrong: Any
    with app.app_context():
        for wrong, words in (
            (7, ": A message has to be a flask_mail.Message or an email.message.EmailMessage"),
            (a_message("", To=""), ": The message has no recipient"),
            (a_message("x" * 61, To=""), f" (subject '{'x' * 60}…'): The message has no recipient"),
            (FlaskMessage("For nobody"), " (subject 'For nobody'): The message has no recipient"),
        ):
            with pytest.raises(MessageError) as raised:
                SMTPAdmin().send_many([a_message(), wrong])
            assert str(raised.value).startswith(f"Message 2 of send_many{words}")


def test_many_messages_share_the_caller_s_transaction(host: Host) -> None:
    with host.app.app_context():
        host.db.session.add(host.Order(name="first"))
        SMTPAdmin().send_many([a_message("one"), a_message("two")])
        host.db.session.rollback()
        assert host.stored() == []
        host.db.session.add(host.Order(name="second"))
        SMTPAdmin().send_many([a_message("one"), a_message("two")])
        assert host.told() == []
        host.db.session.commit()
    assert host.stored() == ["one", "two"]
    assert host.told() == ["one", "two"]
