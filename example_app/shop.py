"""The shop's page: buttons that send, the switch of the mail server, and what did not get through.

Owns every way of sending that the example shows; each is as an application would have it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import wraps

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from flask_smtp_admin import SMTPAdminError

from . import letters
from .extensions import mail, smtp_admin
from .mail_control import PORT_TAKEN
from .surroundings import surroundings
from .tables import DeliveryFailure, Newsletter, Order, db

COPIES = 200
FAILURES_SHOWN = 8
ITEM = "Watering can"
CUSTOMER = "customer@example.org"

blueprint = Blueprint("shop", __name__)


@blueprint.get("/")
def show() -> str:
    """Show the shop's one page."""
    failures = db.session.scalars(
        sa.select(DeliveryFailure).order_by(DeliveryFailure.id.desc()).limit(FAILURES_SHOWN)
    ).all()
    return render_template(
        "shop.html",
        customer=session.get("customer", CUSTOMER),
        failures=failures,
        order_count=db.session.scalar(sa.select(sa.func.count()).select_from(Order)),
        mail_server=surroundings().mail_server.state(),
        copies=COPIES,
    )


# --- sending ------------------------------------------------------------------------------------


class PaymentRefused(Exception):
    """What goes wrong, on purpose, in an order that must leave nothing behind."""


def sends(view: Callable[[str], str]) -> Callable[[], Response]:
    """Make a view of a function that is given the customer's address and returns a sentence."""

    @wraps(view)
    def posted() -> Response:
        try:
            address = request.form.get("customer", CUSTOMER).strip()
            to = validate_email(address, check_deliverability=False).normalized
            session["customer"] = to
            flash(view(to), "done")
        except EmailNotValidError as error:
            flash(f"This is no address: {error}", "error")
        except SMTPAdminError as error:
            flash(str(error), "error")
        return redirect(url_for("shop.show"), code=303)

    return posted


@blueprint.post("/send/welcome")
@sends
def send_welcome(to: str) -> str:
    """Send text, HTML, an inline image and an attachment."""
    smtp_admin.send(letters.welcome(to))
    return f"A welcome message for {to} is in the outbox."


@blueprint.post("/send/password-reset")
@sends
def send_password_reset(to: str) -> str:
    """Send something that overtakes everything else, is of no use after a while, and is secret."""
    smtp_admin.send(
        letters.password_reset(to, secrets.token_urlsafe(24)),
        priority="high",
        expires_at=datetime.now(timezone.utc) + timedelta(minutes=30),
        sensitive=True,
    )
    return f"A password reset for {to} is in the outbox, with high priority and for 30 minutes."


@blueprint.post("/send/refused")
@sends
def send_refused(to: str) -> str:
    """Send to an address that the mail server refuses for good."""
    smtp_admin.send(letters.note("nosuch@example.org"))
    return "The server will refuse this one for good: it fails, and this page hears of it below."


@blueprint.post("/send/deferred")
@sends
def send_deferred(to: str) -> str:
    """Send to an address that the mail server puts off every time."""
    smtp_admin.send(letters.note("defer@example.org"))
    return "The server will put this one off: it stays in the queue and is tried again."


@blueprint.get("/send/newsletter")
def confirm_newsletter() -> str:
    """Ask before so many are sent."""
    return render_template("newsletter.html", copies=COPIES)


@blueprint.post("/send/newsletter")
@sends
def send_newsletter(to: str) -> str:
    """Send many with the plain Flask-Mail that the shop always had, all or none of them."""
    issue = Newsletter()
    db.session.add(issue)
    db.session.flush()  # from here on the messages share the fate of this transaction
    with mail.connect() as connection:
        for reader in range(1, COPIES + 1):
            connection.send(letters.newsletter(f"reader-{reader:03d}@example.org", issue.id))
    db.session.commit()
    return f"{COPIES} copies of newsletter {issue.id} are in the outbox."


@blueprint.post("/order")
@sends
def order(to: str) -> str:
    """Store an order and its confirmation, which commit together."""
    placed = place_order(to)
    db.session.commit()
    return f"Order {placed.id} is stored, and its confirmation is in the outbox."


@blueprint.post("/order/refused")
@sends
def order_refused(to: str) -> str:
    """Store an order and its confirmation, and roll both back when the payment fails."""
    number = place_order(to).id
    try:
        take_payment()
    except PaymentRefused:
        db.session.rollback()
    return f"The payment was refused: order {number} and its confirmation were rolled back."


def take_payment() -> None:
    """Ask a bank that always refuses."""
    raise PaymentRefused


def place_order(to: str) -> Order:
    """Write an order and its message in the transaction of the caller, who commits."""
    placed = Order(item=ITEM, customer=to)
    db.session.add(placed)
    db.session.flush()  # gives it its number
    smtp_admin.send(letters.confirmation(to, placed.id, ITEM))
    return placed


# --- the local mail server ----------------------------------------------------------------------


@blueprint.post("/mail-server/stop")
def stop_mail_server() -> Response:
    """Let the mail server refuse connections, so that failures can be looked at."""
    _tell(surroundings().mail_server.stop(), wanted="stopped")
    return redirect(url_for("shop.show"), code=303)


@blueprint.post("/mail-server/start")
def start_mail_server() -> Response:
    """Let it take messages again."""
    _tell(surroundings().mail_server.start(), wanted="listening")
    return redirect(url_for("shop.show"), code=303)


def _tell(state: str, *, wanted: str) -> None:
    """Say what came of an order to the mail server, and what to do when it was not obeyed."""
    if state == wanted:
        flash(f"The mail server is {state}.", "done")
    elif state == PORT_TAKEN:
        notes = surroundings().folder.read_notes()
        flash(
            f"The mail server could not be started: another program has taken its port "
            f"{notes.smtp_port if notes else ''}. End that program and start the mail server again. "
            "Or end the example with Ctrl-C and run it anew: it finds another port, and says what "
            "to change.",
            "error",
        )
    else:
        flash(
            "The mail server did not answer. The terminal in which the example runs says why; it "
            "is started again within half a minute.",
            "error",
        )
