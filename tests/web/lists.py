"""An application with messages in every state, for the tests of the lists and the message page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from flask_smtp_admin.core import EXTENSION_KEY, State
from flask_smtp_admin.models import AttemptStatus, Message, MessageBody, Status, Worker
from tests import rows
from tests.apps import engine_of
from tests.rows import NOW, later


def open_to(app: Flask, *actions: str) -> State:
    """Let everybody do these actions, everything without any; and let the clock stand at NOW."""
    state: State = app.extensions[EXTENSION_KEY]
    state.authorize = lambda action: not actions or action in actions
    object.__setattr__(state.core, "now", lambda: NOW)
    app.testing = True
    app.config["WTF_CSRF_ENABLED"] = False
    return state


@dataclass
class Stored:
    """The messages of :func:`store`, by what they are, and two connections."""

    app: Flask
    main: Any
    bulk: Any
    deferred: Any
    waiting: Any
    held: Any
    failed: Any
    sending: Any
    sent: Any

    def status(self, message: Any) -> Status:
        return Status(self.column(message, Message.status))

    def column(self, message: Any, column: Any) -> Any:
        with engine_of(self.app).connect() as connection:
            return connection.scalar(sa.select(column).where(Message.id == message.id))


def store(app: Flask) -> Stored:
    """Store a message in each state, two connections, a worker and the attempts."""
    engine = engine_of(app)
    main = rows.a_connection("Main", health={"last_ok_at": NOW})
    bulk = rows.a_connection("Bulk", position=1)
    rows.add(engine, main, bulk)
    alive = Worker(
        id="w1", kind="rq", hostname="web-1", pid=47, started_at=NOW, seen_at=NOW, swept_at=NOW
    )
    failure = {
        "reason": "Greylisted.",
        "last_code": 451,
        "last_enhanced": "4.7.1",
        "last_stage": "rcpt",
        "last_attempt_at": later(minutes=-6),
        "attempts_count": 2,
    }
    stored = Stored(
        app,
        main,
        bulk,
        deferred=_message(
            main, "ann@example.org", subject="Invoice", due_at=later(minutes=14), **failure
        ),
        waiting=_message(main, "bob@example.org", "carol@example.org", "dave@example.org"),
        held=_message(bulk, "erin@example.org", status=Status.HELD, subject="Held <b>back</b>"),
        failed=_message(
            main,
            "nobody@example.org",
            status=Status.FAILED,
            finished_at=NOW,
            **{**failure, "last_code": 550},
        ),
        sending=_message(
            main, "gina@example.org", status=Status.SENDING, lease_until=later(minutes=9)
        ),
        sent=_message(main, "hal@example.org", status=Status.SENT, finished_at=NOW),
    )
    messages = [
        stored.deferred,
        stored.waiting,
        stored.held,
        stored.failed,
        stored.sending,
        stored.sent,
    ]
    rows.add(engine, alive, *messages)
    bodies = [MessageBody(message_id=one.id, part=0, content=b"SECRET BODY") for one in messages]
    dialogue = "0\t*\tconnected\n12\tS\t220 <script>alert(1)</script>\n13\tC\tEHLO web-1"
    rows.add(
        engine,
        *bodies,
        rows.an_attempt(
            stored.deferred,
            number=1,
            reason="Greylisted.",
            smtp_code=451,
            stage="rcpt",
            reply="451 4.7.1 <i>later</i>",
            advice="Nothing to change.",
            dialogue=dialogue,
            tls="TLSv1.3",
            milliseconds=1666,
            worker="web-1:47",
            started_at=later(minutes=-20),
        ),
        rows.an_attempt(
            stored.deferred,
            number=2,
            reason="Greylisted.",
            smtp_code=451,
            started_at=later(minutes=-6),
        ),
        rows.a_flight(stored.sending, worker="web-1:47"),
        rows.an_attempt(
            stored.sent, status=AttemptStatus.SUCCESS, smtp_code=250, reply="250 2.0.0 queued"
        ),
    )
    return stored


def _message(connection: Any, *recipients: str, **fields: Any) -> Any:
    return rows.a_message(
        *recipients, connection_id=connection.id, message_id=f"<{recipients[0]}>", **fields
    )


def text_of(html: str) -> str:
    """Return what a reader sees of a page, in one line."""
    html = re.sub(r"(?s)<(script|style|svg).*?</\1>", " ", html.replace("<wbr>", ""))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'").strip()


def addresses(client: FlaskClient, url: str) -> list[str]:
    """Return the recipients that a list shows, from its top."""
    answer = client.get(url)
    assert answer.status_code == 200
    html = answer.text.replace("<wbr>", "")
    return re.findall(r'title="Show what goes to this address">([^<]*)</a>', html)
