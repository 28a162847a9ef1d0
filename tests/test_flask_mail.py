"""Flask-Mail's documented behaviours, one by one: with our ``Mail``, and with a plain one captured.

A test that takes ``mail`` runs with both. The words in the names are those of Flask-Mail's manual.
"""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import flask_mail
import pytest
from flask import Flask
from flask_mail import Message

from flask_smtp_admin import Mail, SMTPAdmin
from flask_smtp_admin.errors import BadAddress, ConfigurationError, MessageError
from flask_smtp_admin.models import Message as StoredMessage
from flask_smtp_admin.models import Recipient
from tests.apps import MakeApp, bare_app, bodies, rows_of
from tests.servers.catchall import CatchAll

KINDS = {"our Mail": Mail, "a plain Mail": flask_mail.Mail}
MakeMail = Callable[..., tuple[Flask, Any]]


@pytest.fixture(params=list(KINDS))
def make_mail(request: pytest.FixtureRequest, make_app: MakeApp) -> MakeMail:
    def make(**config: Any) -> tuple[Flask, Any]:
        app = make_app(**config)
        return app, KINDS[request.param](app)

    return make


def subjects(app: Flask) -> list[str]:
    return [row["subject"] for row in rows_of(app, StoredMessage)]


def stored(app: Flask, subject: str = "Hello") -> EmailMessage:
    """Return the stored bytes of a message, read by the standard parser."""
    read = email.message_from_bytes(bodies(app)[subject], policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    assert not read.defects
    return read


def hello(**fields: Any) -> Message:
    given = {"subject": "Hello", "recipients": ["to@example.com"], "body": "text", **fields}
    return Message(**given)


# ---------------------------------------------------------------- sending


def test_send(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(hello())
    assert subjects(app) == ["Hello"]
    assert stored(app)["From"] == "shop@example.org"


def test_send_message(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send_message("Hello", recipients=["to@example.com"], body="text")
    assert subjects(app) == ["Hello"]


def test_the_message_s_own_send(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context(), mail.connect() as connection:
        hello().send(connection)
    assert subjects(app) == ["Hello"]


def test_bulk_sending_over_one_connection(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context(), mail.connect() as connection:
        for number in range(3):
            connection.send(Message(f"No. {number}", ["to@example.com"], "text"))
        connection.send_message("No. 3", recipients=["to@example.com"], body="text")
    assert subjects(app) == ["No. 0", "No. 1", "No. 2", "No. 3"]


def test_max_emails_only_counts(make_mail: MakeMail) -> None:
    app, mail = make_mail(MAIL_MAX_EMAILS=2)
    with app.app_context(), mail.connect() as connection:
        counted = []
        for _ in range(3):
            connection.send(hello())
            counted.append(connection.num_emails)
    assert counted == [1, 0, 1]
    assert len(subjects(app)) == 3


def test_whatever_sends_through_the_extensions_of_the_application(make_mail: MakeMail) -> None:
    """Flask-Security does so, for instance."""
    app, _ = make_mail()
    with app.app_context():
        app.extensions["mail"].send(hello())
    assert subjects(app) == ["Hello"]


def test_a_mail_without_an_application_takes_the_current_one(make_app: MakeApp) -> None:
    app = make_app()
    with app.app_context():
        Mail().send(hello())
        flask_mail.Mail().send(hello())
    assert subjects(app) == ["Hello", "Hello"]


def test_our_mail_without_an_application_s_mail_says_so(tmp_path: Any) -> None:
    app = bare_app(tmp_path)
    with app.app_context(), pytest.raises(RuntimeError, match=r"Mail\(app\)"):
        Mail().connect()


def test_the_envelope_sender_of_our_mail(make_app: MakeApp) -> None:
    app = make_app()
    mail = Mail(app)
    with app.app_context(), mail.connect() as connection:
        connection.send(hello(), envelope_from="bounces@example.org")
        connection.send(hello(), envelope_from=("Bounces", "named@example.org"))
    found = [row["sender"] for row in rows_of(app, StoredMessage)]
    assert found == ["bounces@example.org", "named@example.org"]
    assert stored(app)["From"] == "shop@example.org"


# ---------------------------------------------------------------- in tests of the host


def test_record_messages(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context(), mail.record_messages() as outbox:
        mail.send(hello())
        mail.send_message("Again", recipients=["to@example.com"])
    assert [message.subject for message in outbox] == ["Hello", "Again"]


def test_email_dispatched_is_sent_once_with_the_date_set(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    heard: list[tuple[Flask, Message]] = []

    def note(sender: Flask, message: Message) -> None:
        heard.append((sender, message))

    message = hello_in(app)
    with flask_mail.email_dispatched.connected_to(note), app.app_context():
        mail.send(message)
    assert heard == [(app, message)]
    assert message.date is not None
    assert len(subjects(app)) == 1


def hello_in(app: Flask) -> Message:
    with app.app_context():
        return hello()


def test_a_receiver_that_sends_a_message_itself_loses_none(make_mail: MakeMail) -> None:
    app, mail = make_mail()

    def copy(sender: Flask, message: Message) -> None:
        if message.subject == "Hello":
            flask_mail.Mail().send(Message("Copy", ["archive@example.com"], "text"))

    with flask_mail.email_dispatched.connected_to(copy), app.app_context():
        mail.send(hello())
    assert sorted(subjects(app)) == ["Copy", "Hello"]


@pytest.mark.parametrize("config", [{"MAIL_SUPPRESS_SEND": True}, {"TESTING": True}])
def test_suppressed_nothing_is_stored_but_it_is_recorded(
    make_mail: MakeMail, config: dict[str, Any]
) -> None:
    app, mail = make_mail(**config)
    with app.app_context(), mail.record_messages() as outbox:
        mail.send(hello())
    assert len(outbox) == 1
    assert subjects(app) == []


def test_suppression_can_be_overruled_while_testing(make_mail: MakeMail) -> None:
    app, mail = make_mail(TESTING=True, MAIL_SUPPRESS_SEND=False)
    with app.app_context():
        mail.send(hello())
    assert subjects(app) == ["Hello"]


def test_the_state_can_be_changed_later(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.state.suppress = True
        mail.send(Message("lost", ["to@example.com"]))
        mail.state.suppress = False
        mail.send(Message("kept", ["to@example.com"]))
        app.extensions["mail"].suppress = True
        mail.send(Message("lost", ["to@example.com"]))
        assert mail.suppress is True
        mail.state.default_sender = "other@example.org"
        assert Message("x").sender == "other@example.org"
    assert subjects(app) == ["kept"]


@pytest.mark.parametrize("testing", [True, False])
def test_capture_sees_what_flask_mail_sends(make_mail: MakeMail, testing: bool) -> None:
    app, mail = make_mail(TESTING=testing)
    smtp_admin = SMTPAdmin()
    with app.app_context():
        with smtp_admin.capture() as outbox:
            mail.send(hello())
            smtp_admin.send(hello())
        assert [message.subject for message in outbox] == ["Hello", "Hello"]
        assert outbox[0].recipients[0].address == "to@example.com"
    assert subjects(app) == []


def test_captures_within_each_other(app: Flask) -> None:
    smtp_admin = SMTPAdmin()
    with smtp_admin.capture() as outer:
        smtp_admin.send(hello())
        with smtp_admin.capture() as inner:
            smtp_admin.send(hello())
        smtp_admin.send(hello())
    assert (len(outer), len(inner)) == (2, 1)
    smtp_admin.send(hello())
    assert len(subjects(app)) == 1


# ---------------------------------------------------------------- refusals


def test_no_recipients(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context(), pytest.raises(AssertionError, match="No recipients"):
        mail.send(Message("Hello", body="text"))
    assert subjects(app) == []


def test_no_sender(make_mail: MakeMail) -> None:
    app, mail = make_mail(MAIL_DEFAULT_SENDER=None)
    with app.app_context(), pytest.raises(AssertionError, match="sender"):
        mail.send(hello())
    assert subjects(app) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "testing\r\n"},
        {"subject": "testing\nBcc: all@example.com"},
        {"subject": "testing\r\n \r\n x"},
        {"sender": "from@example.com\r\n"},
        {"sender": ("Shop\r\nBcc: x", "from@example.com")},
        {"recipients": ["to@example.com\r\nBcc: x@example.com"]},
        {"reply_to": "from@example.com\r\n"},
    ],
    ids=str,
)
def test_bad_headers(make_mail: MakeMail, fields: dict[str, Any]) -> None:
    app, mail = make_mail()
    with app.app_context():
        message = Message(**{"subject": "Hello", "recipients": ["to@example.com"], **fields})
        with pytest.raises(flask_mail.BadHeaderError):
            mail.send(message)
    assert subjects(app) == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"cc": ["cc@example.com\r\nBcc: x@example.com"]}, MessageError),
        ({"extra_headers": {"X-Id": "1\r\nBcc: x@example.com"}}, MessageError),
        ({"recipients": ["nobody"]}, BadAddress),
    ],
    ids=str,
)
def test_what_flask_mail_lets_through_and_we_do_not(
    make_mail: MakeMail, fields: dict[str, Any], error: type[Exception]
) -> None:
    app, mail = make_mail()
    with app.app_context(), pytest.raises(error):
        mail.send(hello(**fields))
    assert subjects(app) == []


# ---------------------------------------------------------------- the parts of a message


def test_a_subject_that_is_folded_already(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(hello(subject="Testing:\r\n a header\r\n\tof three lines"))
    assert subjects(app) == ["Testing: a header of three lines"]


@pytest.mark.parametrize(
    ("sender", "written"),
    [
        (("Support", "help@example.org"), "Support <help@example.org>"),
        (("Shop, Inc.", "help@example.org"), '"Shop, Inc." <help@example.org>'),
        (("Größe: XL", "help@example.org"), '"Größe: XL" <help@example.org>'),
        (("Shop @ Home", "help@example.org"), '"Shop @ Home" <help@example.org>'),
        (("help@example.org", "help@example.org"), '"help@example.org" <help@example.org>'),
        (('A "B" C', "help@example.org"), r'"A \"B\" C" <help@example.org>'),
        (("A <B> C", "help@example.org"), '"A <B> C" <help@example.org>'),
        (("Home, @work", "help@example.org"), '"Home, @work" <help@example.org>'),
        (r'"A \"B\" C" <help@example.org>', r'"A \"B\" C" <help@example.org>'),
        ('"Shop, Inc." <help@example.org>', '"Shop, Inc." <help@example.org>'),
        ("help@example.org", "help@example.org"),
    ],
    ids=str,
)
def test_default_sender(make_mail: MakeMail, sender: Any, written: str) -> None:
    app, mail = make_mail(MAIL_DEFAULT_SENDER=sender)
    with app.app_context():
        mail.send(hello())
    assert stored(app)["From"] == written
    (row,) = rows_of(app, StoredMessage)
    assert row["sender"] == "help@example.org"


def test_several_senders_are_no_name(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context(), pytest.raises(BadAddress):
        mail.send(hello(sender="ann@example.org, Shop <help@example.org>"))
    assert subjects(app) == []


class Late:
    """A text that is translated when it is read, like those of Flask-Babel."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def test_texts_that_are_translated_late(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    alts: Any = {"calendar": Late("BEGIN:VCALENDAR")}
    with app.app_context():
        mail.send(hello(body=Late("Grüße"), html=Late("<p>Grüße</p>"), alts=alts))
    contents = [
        part.get_content().strip() for part in stored(app).walk() if not part.is_multipart()
    ]
    assert sorted(contents) == ["<p>Grüße</p>", "BEGIN:VCALENDAR", "Grüße"]


@pytest.mark.parametrize("body", [b"text", ["text"], 5])
def test_what_is_no_text_is_refused(make_mail: MakeMail, body: Any) -> None:
    app, mail = make_mail()
    with app.app_context(), pytest.raises(MessageError):
        mail.send(hello(body=body))
    assert subjects(app) == []


def test_recipients_of_every_kind(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        message = hello(
            recipients=[("Ada", "ada@example.com"), "bob@example.com"],
            cc=["cc@example.com"],
            bcc=["secret@example.com"],
            reply_to="answers@example.org",
        )
        message.add_recipient("late@example.com")
        mail.send(message)
    assert [(row["address"], str(row["kind"])) for row in rows_of(app, Recipient)] == [
        ("ada@example.com", "to"),
        ("bob@example.com", "to"),
        ("late@example.com", "to"),
        ("cc@example.com", "cc"),
        ("secret@example.com", "bcc"),
    ]
    read = stored(app)
    assert read["To"] == "Ada <ada@example.com>, bob@example.com, late@example.com"
    assert read["Cc"] == "cc@example.com"
    assert read["Reply-To"] == "answers@example.org"
    assert b"secret" not in bodies(app)["Hello"]


def test_a_message_that_is_sent_only_to_bcc(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(Message("Hello", bcc=["secret@example.com"], body="text"))
    assert b"secret" not in bodies(app)["Hello"]
    assert [row["address"] for row in rows_of(app, Recipient)] == ["secret@example.com"]


def test_text_html_and_alternatives(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(hello(html="<b>html</b>", alts={"calendar": "BEGIN:VCALENDAR"}))
    read = stored(app)
    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.iter_parts()] == [
        "text/plain",
        "text/html",
        "text/calendar",
    ]
    assert [part.get_content().strip() for part in read.iter_parts()] == [
        "text",
        "<b>html</b>",
        "BEGIN:VCALENDAR",
    ]


def test_html_only(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(hello(body=None, html="<b>html</b>"))
    assert stored(app).get_body(("html",)).get_content() == "<b>html</b>\r\n"  # type: ignore[union-attr]


def test_attachments(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        message = hello()
        message.attach("data.bin", "application/octet-stream", bytes(range(256)))
        message.attach("notes.txt", None, "a text")
        message.attach(content_type="text/csv", data="a,b")
        message.attach("x.html", "text/html", "<p>", "inline", {"X-Part": "4"})
        mail.send(message)
    parts = list(stored(app).iter_parts())[1:]
    assert [part.get_filename() for part in parts] == ["data.bin", "notes.txt", None, "x.html"]
    assert [part.get_content_type() for part in parts] == [
        "application/octet-stream",
        "text/plain",
        "text/csv",
        "text/html",
    ]
    assert parts[0].get_content() == bytes(range(256))
    assert parts[3].get_content_disposition() == "inline"
    assert parts[3]["X-Part"] == "4"


@pytest.mark.parametrize(
    ("ascii_only", "name"), [(False, "Ünïcödę ← → ✓.txt"), (True, "Unicode .txt")]
)
def test_ascii_attachments(make_mail: MakeMail, ascii_only: bool, name: str) -> None:
    app, mail = make_mail(MAIL_ASCII_ATTACHMENTS=ascii_only)
    with app.app_context():
        message = hello()
        message.attach("Ünïcödę ← → ✓.txt", "text/plain", "x")
        mail.send(message)
    (part,) = stored(app).iter_attachments()
    assert part.get_filename() == name


def test_an_inline_image(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        message = hello(html='<img src="cid:logo">')
        message.attach("logo.png", "image/png", b"\x89PNG", "inline", {"Content-ID": "<logo>"})
        mail.send(message)
    (related,) = (
        part for part in stored(app).walk() if part.get_content_type() == "multipart/related"
    )
    image = list(related.iter_parts())[1]
    assert image["Content-ID"] == "<logo>"
    assert image.get_content() == b"\x89PNG"


def test_extra_headers_and_the_date(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(hello(extra_headers={"X-Campaign": "autumn"}, date=1_700_000_000.0))
    read = stored(app)
    assert read["X-Campaign"] == "autumn"
    assert read["Date"].datetime.timestamp() == 1_700_000_000


def test_unicode_everywhere(make_mail: MakeMail) -> None:
    app, mail = make_mail()
    with app.app_context():
        mail.send(
            Message(
                "Grüße aus 日本 🎉",
                recipients=[("Jürgen Ä.", "juergen@exämple.org")],
                sender=("Läden", "shop@bücher.example"),
                body="Straße",
            )
        )
    read = stored(app, "Grüße aus 日本 🎉")
    assert read["Subject"] == "Grüße aus 日本 🎉"
    assert read["To"].addresses[0].display_name == "Jürgen Ä."
    assert read["To"].addresses[0].addr_spec == "juergen@xn--exmple-cua.org"
    assert read["From"].addresses[0].addr_spec == "shop@xn--bcher-kva.example"
    assert read.get_content() == "Straße\r\n"
    assert bodies(app)["Grüße aus 日本 🎉"].isascii()


# ---------------------------------------------------------------- left alone


def test_capture_switched_off_flask_mail_speaks_to_the_server_itself(
    make_app: MakeApp, catchall: CatchAll
) -> None:
    app = make_app(
        SMTP_ADMIN_CAPTURE_FLASK_MAIL=False,
        MAIL_SERVER=catchall.host,
        MAIL_PORT=catchall.port,
    )
    mail = flask_mail.Mail(app)
    with app.app_context():
        mail.send(hello())
        (caught,) = catchall.wait_for(1)
        assert caught.recipients == ("to@example.com",)
        assert subjects(app) == []
        SMTPAdmin().send(hello())
    assert subjects(app) == ["Hello"]
    assert len(catchall.messages) == 1


def test_our_mail_works_with_the_capture_switched_off(make_app: MakeApp) -> None:
    app = make_app(SMTP_ADMIN_CAPTURE_FLASK_MAIL=False)
    mail = Mail(app)
    with app.app_context():
        mail.send(hello())
    assert subjects(app) == ["Hello"]


def test_something_else_under_the_name_mail_is_a_clear_error(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    app.extensions["mail"] = object()
    with pytest.raises(ConfigurationError, match="SMTP_ADMIN_CAPTURE_FLASK_MAIL"):
        SMTPAdmin(app)


def test_something_else_that_comes_later_is_left_alone_and_logged_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    other = app.extensions["mail"] = object()
    for _ in range(2):
        assert app.test_client().get("/nowhere").status_code == 404
    assert app.extensions["mail"] is other
    [record] = [one for one in caplog.records if "SMTP_ADMIN_CAPTURE_FLASK_MAIL" in one.message]
    assert record.levelname == "ERROR"
