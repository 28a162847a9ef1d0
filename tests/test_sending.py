"""From ``send`` to the server: what arrives is what was said, whoever sends and however often."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import datetime, timezone
from email.message import EmailMessage
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import flask_mail
import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from flask_smtp_admin import SMTPAdmin, outbox, signals
from flask_smtp_admin.dispatch.rq_bell import wake_key
from flask_smtp_admin.models import Attempt, Message, Recipient
from tests.apps import Host, MakeApp, core_of, rows_of
from tests.servers.catchall import CatchAll


@pytest.fixture
def posting(make_app: MakeApp, catchall: CatchAll) -> Iterator[Flask]:
    """An application that delivers to ``catchall`` before ``send`` returns, in its context."""
    app = make_app(SMTP_ADMIN_DISPATCH="inline", MAIL_SERVER=catchall.host, MAIL_PORT=catchall.port)
    with app.app_context():
        yield app


def read(content: bytes) -> EmailMessage:
    found = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    assert not found.defects
    return found


def plain(**headers: str) -> EmailMessage:
    message = EmailMessage()
    given = {"From": "shop@example.org", "To": "ada@example.org", "Subject": "Hello", **headers}
    for name, value in given.items():
        message[name.replace("_", "-")] = value
    message.set_content("text")
    return message


def send(message: Any = None, **options: Any) -> None:
    SMTPAdmin().send(message or plain(), **options)


# ---------------------------------------------------------------- what arrives


def test_what_arrives(posting: Flask, catchall: CatchAll) -> None:
    send(plain(Cc="Bob <bob@example.org>", Reply_To="answers@example.org"))
    (caught,) = catchall.messages
    assert caught.envelope_from == "shop@example.org"
    assert caught.recipients == ("ada@example.org", "bob@example.org")
    found = read(caught.content)
    assert found["From"] == "shop@example.org"
    assert found["To"] == "ada@example.org"
    assert found["Cc"] == "Bob <bob@example.org>"
    assert found["Reply-To"] == "answers@example.org"
    assert found["Message-ID"].endswith("@example.org>")
    assert found.get_content() == "text\r\n"
    assert [str(row["status"]) for row in rows_of(posting, Message)] == ["sent"]


@pytest.mark.parametrize("kind", ["EmailMessage", "flask_mail.Message"])
def test_bcc_gets_it_and_nobody_reads_it(posting: Flask, catchall: CatchAll, kind: str) -> None:
    message: Any = plain(Bcc="Secret <secret@example.org>")
    if kind != "EmailMessage":
        message = flask_mail.Message("Hello", ["ada@example.org"], bcc=["secret@example.org"])
    send(message)
    (caught,) = catchall.messages
    assert caught.recipients == ("ada@example.org", "secret@example.org")
    assert b"secret" not in caught.content.lower()
    assert b"bcc:" not in caught.content.lower()


def test_every_try_sends_the_same_bytes(posting: Flask, catchall: CatchAll) -> None:
    """Message-ID, Date, boundaries: a receiver that got it twice can tell that it is one."""
    message = plain()
    message.add_alternative("<b>text</b>", subtype="html")
    message.add_attachment(b"\x00\xff" * 500, maintype="application", subtype="octet-stream")
    tries: list[bytes] = []
    catchall.answer_content("451 4.3.0 not now")
    send(message)
    catchall.forget_answers()
    (row,) = rows_of(posting, Message)
    assert str(row["status"]) == "queued"
    assert row["attempts_count"] == 1
    with core_of(posting).database.read() as connection:
        tries.append(outbox.read_body(connection, row["id"]))
    del message["Subject"]
    message["Subject"] = "changed after send"
    outbox.retry(core_of(posting))
    (caught,) = catchall.messages
    tries.append(caught.content)
    assert tries[0] == tries[1]
    assert read(caught.content)["Subject"] == "Hello"
    assert [str(row["status"]) for row in rows_of(posting, Attempt)] == ["FAIL", "SUCCESS"]


def test_a_message_keeps_its_own_id_and_date(posting: Flask, catchall: CatchAll) -> None:
    send(plain(Message_ID="<7@shop.example.org>", Date="Sun, 22 Nov 2026 09:00:00 +0100"))
    found = read(catchall.messages[0].content)
    assert found["Message-ID"] == "<7@shop.example.org>"
    assert found["Date"].datetime == datetime(2026, 11, 22, 8, tzinfo=timezone.utc)
    assert rows_of(posting, Message)[0]["message_id"] == "<7@shop.example.org>"


def test_the_caller_s_message_is_not_changed(posting: Flask) -> None:
    message = plain(Bcc="secret@example.org")
    before = message.as_bytes()
    send(message)
    assert message.as_bytes() == before


def in_both_forms() -> tuple[EmailMessage, flask_mail.Message]:
    """Return the same message as the standard library and as Flask-Mail write it."""
    standard = EmailMessage()
    standard["Subject"] = "Grüße 🎉"
    standard["From"] = "Läden <shop@bücher.example>"
    standard["To"] = "Ada <ada@example.org>"
    standard["Cc"] = "bob@example.org"
    standard["Bcc"] = "eve@example.org"
    standard["Reply-To"] = "answers@example.org"
    standard["X-Campaign"] = "autumn"
    standard["Date"] = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
    standard["Message-ID"] = "<1@shop.example.org>"
    standard.set_content("Straße\n")
    standard.add_alternative('<img src="cid:logo">\n', subtype="html")
    html = standard.get_payload()[1]  # type: ignore[index]
    html.add_related(  # type: ignore[union-attr]
        b"\x89PNG", maintype="image", subtype="png", cid="<logo>", filename="logo.png"
    )
    standard.add_attachment(
        b"\x00\xff", maintype="application", subtype="octet-stream", filename="Übersicht.bin"
    )
    other = flask_mail.Message(
        "Grüße 🎉",
        recipients=[("Ada", "ada@example.org")],
        sender=("Läden", "shop@bücher.example"),
        cc=["bob@example.org"],
        bcc=["eve@example.org"],
        reply_to="answers@example.org",
        extra_headers={"X-Campaign": "autumn", "Message-ID": "<1@shop.example.org>"},
        date=datetime(2026, 11, 22, 9, tzinfo=timezone.utc).timestamp(),
        body="Straße\n",
        html='<img src="cid:logo">\n',
    )
    other.msgId = None  # type: ignore[assignment]
    other.attach("logo.png", "image/png", b"\x89PNG", "inline", {"Content-ID": "<logo>"})
    other.attach("Übersicht.bin", "application/octet-stream", b"\x00\xff")
    return standard, other


def facts(content: bytes) -> dict[str, Any]:
    found = read(content)
    names = ("Subject", "From", "To", "Cc", "Reply-To", "X-Campaign", "Date", "Message-ID")
    return {
        "headers": {name: str(found[name]) for name in names},
        "parts": [
            (
                part.get_content_type(),
                part.get_filename(),
                part["Content-ID"],
                None if part.is_multipart() else part.get_payload(decode=True),
            )
            for part in found.walk()
        ],
    }


def test_both_kinds_of_message_arrive_alike(posting: Flask, catchall: CatchAll) -> None:
    for message in in_both_forms():
        send(message)
    standard, other = catchall.messages
    assert standard.envelope_from == other.envelope_from == "shop@xn--bcher-kva.example"
    assert standard.recipients == other.recipients
    assert facts(standard.content) == facts(other.content)
    assert [part[0] for part in facts(other.content)["parts"]] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/octet-stream",
    ]


def test_the_old_classes_of_the_standard_library_are_messages_too(
    posting: Flask, catchall: CatchAll
) -> None:
    message = MIMEText("Straße", "plain", "iso-8859-1")
    message["Subject"] = "=?iso-8859-1?q?Gr=FC=DFe?="
    message["From"] = "shop@example.org"
    message["To"] = "ada@example.org"
    send(message)
    found = read(catchall.messages[0].content)
    assert found["Subject"] == "Grüße"
    assert found.get_content().strip() == "Straße"


def test_lines_that_begin_with_a_dot_and_bare_line_ends(posting: Flask, catchall: CatchAll) -> None:
    message = plain()
    message.set_content(".\n..\n.dot\nFrom here\n\nend")
    send(message)
    content = catchall.messages[0].content
    assert content.endswith(b".\r\n..\r\n.dot\r\nFrom here\r\n\r\nend\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"")


def test_a_recipient_that_is_named_twice_gets_it_once(posting: Flask, catchall: CatchAll) -> None:
    send(plain(To="ada@example.org, ada@EXAMPLE.org", Cc="ada@example.org"))
    assert len(catchall.messages[0].recipients) == 1
    assert len(rows_of(posting, Recipient)) == 1


# ---------------------------------------------------------------- for tests of hosts


def test_fail_with_lets_deliveries_fail_without_a_server(
    posting: Flask, catchall: CatchAll
) -> None:
    smtp_admin = SMTPAdmin()
    heard: list[signals.Event] = []

    def note(sender: Flask, event: signals.Event) -> None:
        heard.append(event)

    with (
        signals.delivery_failed.connected_to(note),
        signals.final_delivery_failed.connected_to(note),
    ):
        with smtp_admin.fail_with(451, "try later"):
            send()
        with smtp_admin.fail_with(550):
            send()
    assert catchall.sessions == 0
    assert [str(row["status"]) for row in rows_of(posting, Message)] == ["queued", "failed"]
    assert [(event.code, event.smtp_code) for event in heard] == [
        ("delivery_failed", 451),
        ("delivery_failed", 550),
        ("final_delivery_failed", 550),
    ]
    send(plain(Subject="after"))
    assert len(catchall.messages) == 1


@pytest.mark.parametrize("code", [0, 199, 600])
def test_fail_with_takes_reply_codes_only(app: Flask, code: int) -> None:
    with pytest.raises(ValueError, match="no SMTP reply code"), SMTPAdmin().fail_with(code):
        pass


def test_capture_ends_with_its_block_also_after_an_exception(app: Flask) -> None:
    smtp_admin = SMTPAdmin()
    with pytest.raises(KeyError), smtp_admin.capture():
        raise KeyError
    send()
    assert len(rows_of(app, Message)) == 1


# ---------------------------------------------------------------- a job of the host, the wake-up


def job(subject: str, outcome: str) -> None:
    """What a host queues: a row of its own and a message, committed or not."""
    with _hosts[0].app.app_context():
        session = _hosts[0].db.session
        session.add(_hosts[0].Order(name=subject))
        send(plain(Subject=subject))
        if outcome == "commit":
            session.commit()
        elif outcome == "raise":
            raise RuntimeError("the job failed")


_hosts: list[Host] = []
"""The host whose worker is running: RQ hands a job nothing but its arguments."""


def test_an_rq_job_of_the_host_sends(database_url: str, redis_url: str, tmp_path: Path) -> None:
    host = Host(
        tmp_path / "instance",
        database_url,
        SMTP_ADMIN_DISPATCH="rq",
        SMTP_ADMIN_REDIS_URL=redis_url,
    )
    _hosts.append(host)
    try:
        with redis.Redis.from_url(redis_url) as client:
            queue = Queue("host", connection=client, serializer=JSONSerializer)
            for outcome in ("commit", "raise", "forget"):
                queue.enqueue(f"{__name__}.job", outcome, outcome)
            worker = SimpleWorker([queue], connection=client, serializer=JSONSerializer)
            worker.work(burst=True)
            assert host.stored() == ["commit"]
            assert host.told() == ["commit"]
            assert host.orders() == ["commit"]
            core = core_of(host.app)
            assert client.exists(wake_key(core.config)) == 1
            ours = Queue(core.config.queue_name, connection=client, serializer=JSONSerializer)
            (wake_up,) = ours.jobs
            assert not wake_up.args
            assert not wake_up.kwargs
    finally:
        _hosts.clear()
        host.close()


def test_a_rollback_rings_nobody(redis_url: str, sqlite_url: str, tmp_path: Path) -> None:
    host = Host(
        tmp_path / "instance",
        sqlite_url,
        SMTP_ADMIN_DISPATCH="rq",
        SMTP_ADMIN_REDIS_URL=redis_url,
    )
    with redis.Redis.from_url(redis_url) as client, host.app.app_context():
        host.db.session.execute(sa.insert(host.Order).values(name="a"))
        send()
        assert client.dbsize() == 0
        host.db.session.rollback()
        assert client.dbsize() == 0
        send()
        assert client.exists(wake_key(core_of(host.app).config)) == 1
    host.close()


def test_a_redis_that_is_down_costs_a_log_line(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(
        tmp_path / "instance",
        sqlite_url,
        SMTP_ADMIN_DISPATCH="rq",
        SMTP_ADMIN_REDIS_URL="redis://127.0.0.1:1/0",
    )
    with host.app.app_context():
        host.db.session.add(host.Order(name="a"))
        send()
        host.db.session.commit()
    assert host.stored() == ["Hello"]
    assert host.orders() == ["a"]
    assert "Redis cannot be reached" in caplog.text
    host.close()
