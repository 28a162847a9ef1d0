"""Test SMTP: a connection tried stage by stage, stored or as typed into its form.

Owns the report as a page and as a stream of stages. What is tried and how is in
:mod:`flask_smtp_admin.connections`, the protocol in :mod:`flask_smtp_admin.smtp`.

A browser with scripts asks with ``Accept: application/x-ndjson`` and gets each stage as it ends;
without them the page comes when all is done. The time of a trial is bounded either way.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from flask import Response, current_app, render_template, request, stream_with_context
from wtforms import EmailField, RadioField
from wtforms.validators import ValidationError

from flask_smtp_admin import connections, wording
from flask_smtp_admin.connections.values import address_of
from flask_smtp_admin.core import Core
from flask_smtp_admin.errors import ConfigurationError, SecretUnreadable
from flask_smtp_admin.models import Connection
from flask_smtp_admin.smtp import Endpoint, ProbeReport, Step

from . import access
from .connection_form import TRIED
from .connections import form_of, form_page, stored_or_404
from .forms import PageForm, choices, stripped
from .throttle import Throttle

STREAM = "application/x-ndjson"
TESTS, TESTS_SECONDS = 20, 300
THROTTLE_KEY = "smtp_admin.test_throttle"

LABELS = {
    "resolve": "Look up the name",
    "connect": "Connect",
    "greeting": "Greeting",
    "ehlo": "Introduction (EHLO)",
    "tls": "Encryption (TLS)",
    "auth": "Login (AUTH)",
    "mail": "Sender (MAIL FROM)",
    "rcpt": "Recipient (RCPT TO)",
    "data": "Message begins (DATA)",
    "body": "Message",
    "quit": "Goodbye (QUIT)",
}
BAD_RECIPIENT = "Please enter the address that the test message goes to."

Answer = str | Response | tuple[str, int]


# ---------------------------------------------------------------- a stored connection


class TrialForm(PageForm):
    """How far a test of a stored connection goes."""

    mode = RadioField(
        "How far?",
        choices=choices(("stop", "Stop before sending"), ("send", "Send a test message")),
        default="stop",
    )
    test_recipient = EmailField(
        "To",
        filters=[stripped],
        render_kw={"autocomplete": "email", "placeholder": "you@example.org"},
    )

    @property
    def recipient(self) -> str:
        """Where the test message goes; empty: none is sent."""
        return str(self.test_recipient.data) if self.mode.data == "send" else ""

    def validate_test_recipient(self, field: EmailField) -> None:
        """Ask for an address when a message is to be sent."""
        if self.mode.data == "send" and address_of(self.recipient) is None:
            raise ValidationError(BAD_RECIPIENT)


def test_show(connection_id: int) -> Answer:
    """Ask how far a test goes, and run it."""
    stored = stored_or_404(connection_id)
    form = TrialForm()

    def page(**more: Any) -> str:
        return render_template(
            "smtp_admin/test/show.html", connection=stored, form=form, labels=LABELS, **more
        )

    if not form.is_submitted():
        return page()
    if not form.validate():
        wrong = {field.id: field.errors[0] for field in form if field.errors}
        return _refused("", page, 422, errors=wrong)
    words = _too_often()
    if words:
        return _refused(words, lambda: page(notice=words), 429)
    core = access.core()
    try:
        endpoint = connections.trial_endpoint(stored, core)
    except (SecretUnreadable, ConfigurationError) as error:
        sentence = str(error)
        return _refused(sentence, lambda: page(notice=sentence), 422)
    trial = Trial(core, stored, endpoint, form.recipient, record=True)
    return _stream(trial) if _wants_stream() else page(report=trial.run())


# ---------------------------------------------------------------- the form, saved or not


def test_new() -> Answer:
    """Test what was typed into the form of a new connection."""
    return _test_form(None)


def test_edit(connection_id: int) -> Answer:
    """Test what was typed into the form of a stored connection."""
    return _test_form(stored_or_404(connection_id))


def _test_form(stored: Connection | None) -> Answer:
    access.require("configure")
    core = access.core()
    form = form_of(stored)
    recipient = str(form.test_recipient.data)

    def page(**more: Any) -> str:
        return form_page(stored, form, labels=LABELS, **more)

    # A mistyped repetition of the password is for saving; so are caption and order.
    found = connections.check(form.typed(), core.config, stored=stored, now=core.now())
    errors = {k: v for k, v in found.errors.items() if k in TRIED}
    if recipient and address_of(recipient) is None:
        errors["test_recipient"] = BAD_RECIPIENT
    if errors:
        form.refuse(errors)
        by_id = {form[name].id: sentence for name, sentence in errors.items()}
        return _refused("", page, 422, errors=by_id)
    words = _too_often()
    if words:
        return _refused(words, lambda: page(notice=words), 429)
    tried = connections.transient(found.values)
    try:
        password = found.password
        if password is None:
            kept = tried if stored is None or found.forget_password else stored
            password = connections.stored_password(kept, core.keys) if tried.use_auth else ""
        endpoint = connections.trial_endpoint(tried, core, password=password)
    except (SecretUnreadable, ConfigurationError) as error:
        sentence = str(error)
        return _refused(sentence, lambda: page(notice=sentence), 422)
    trial = Trial(core, tried, endpoint, recipient, record=False)
    return _stream(trial) if _wants_stream() else page(report=trial.run())


# ---------------------------------------------------------------- running


class Trial:
    """One trial, ready to run.

    :param record: note what comes of it in the health of the connection, which is stored.
    """

    def __init__(
        self,
        core: Core,
        connection: Connection,
        endpoint: Endpoint,
        recipient: str,
        *,
        record: bool,
    ) -> None:
        self.core, self.connection, self.endpoint = core, connection, endpoint
        self.recipient, self.record = recipient, record

    def run(self, on_stage: Any = None) -> ProbeReport:
        """Run it to its end."""
        report = connections.run(
            self.connection, self.endpoint, self.core, to=self.recipient, on_stage=on_stage
        )
        if self.record:
            connections.record(self.core, self.connection, report)
        return report

    def steps(self) -> Iterator[Step | ProbeReport | Exception]:
        """Run it in a thread and give each step as it ends, then the report."""
        done: queue.Queue[Step | ProbeReport | Exception] = queue.Queue()

        def run() -> None:
            try:
                done.put(self.run(done.put))
            except Exception as error:  # noqa: BLE001 - the reader must not wait for ever
                done.put(error)

        threading.Thread(target=run, name="smtp-admin-test", daemon=True).start()
        while True:
            item = done.get()
            yield item
            if not isinstance(item, Step):
                return


def _stream(trial: Trial) -> Response:
    """Answer with a line of JSON a stage, and at last the whole report."""

    def lines() -> Iterator[str]:
        for item in trial.steps():
            if isinstance(item, Step):
                html = render_template("smtp_admin/test/_step.html", step=item, labels=LABELS)
                yield json.dumps({"step": html}) + "\n"
            elif isinstance(item, ProbeReport):
                html = render_template("smtp_admin/test/_report.html", report=item, labels=LABELS)
                yield json.dumps({"report": html}) + "\n"
            else:
                current_app.logger.error("A test of a connection broke off.", exc_info=item)
                words = "The test broke off because of a fault of ours; the log has the details."
                yield json.dumps({"notice": words}) + "\n"

    response = Response(stream_with_context(lines()), mimetype=STREAM)
    response.headers["X-Accel-Buffering"] = "no"  # a proxy would hold the stages back
    return response


def _wants_stream() -> bool:
    return STREAM in request.headers.get("Accept", "")


def _refused(words: str, page: Any, status: int, *, errors: dict[str, str] | None = None) -> Answer:
    """Answer that no test was run: as a line of JSON to a script, otherwise as the page."""
    if _wants_stream():
        line = json.dumps({"notice": words, "errors": errors or {}}) + "\n"
        return Response(line, status=status, mimetype=STREAM)
    return page(), status


def _too_often() -> str:
    throttle: Throttle = current_app.extensions.setdefault(
        THROTTLE_KEY, Throttle(TESTS, TESTS_SECONDS)
    )
    seconds = throttle.wait(access.client())
    if not seconds:
        return ""
    return (
        f"Those were {TESTS} tests in {wording.span(timedelta(seconds=TESTS_SECONDS))}. So that "
        "nobody scans a network from here, the next one is possible in "
        f"{wording.span(timedelta(seconds=seconds))}."
    )
