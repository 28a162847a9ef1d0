"""The shop as a Flask application.

Owns putting it together, and the integration of flask-smtp-admin that it is here to show. Must not
know the processes around it.
"""

from __future__ import annotations

from flask import Flask, Response, render_template
from flask_wtf.csrf import CSRFError

from flask_smtp_admin import signals

from . import inbox, letters, login, shop
from .extensions import csrf, mail, smtp_admin
from .folder import DataFolder, Notes
from .mail_control import MailControl
from .ports import SMTP_PORT
from .surroundings import KEY, Surroundings
from .tables import DeliveryFailure, db

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def build(folder: DataFolder | None = None) -> Flask:
    """Return the shop, with its data in ``folder`` (default: what the environment names)."""
    folder = folder or DataFolder.from_environment()
    app = Flask(__package__ or "example_app", instance_path=str(folder.path))
    configure(app, folder)
    app.extensions[KEY] = Surroundings(folder, MailControl(folder.socket_path("mail")))
    db.init_app(app)
    mail.init_app(app)
    csrf.init_app(app)
    smtp_admin.init_app(app)
    for blueprint in (login.blueprint, shop.blueprint, inbox.blueprint):
        app.register_blueprint(blueprint)
    app.jinja_env.globals["mail_pages"] = "/smtp-admin/"
    app.after_request(add_headers)
    app.register_error_handler(CSRFError, lost_token)
    return app


def configure(app: Flask, folder: DataFolder) -> None:
    """Set what the shop and flask-smtp-admin read from ``app.config``."""
    notes = folder.read_notes() or Notes()
    app.config.update(
        SECRET_KEY=folder.secret_key(),
        SESSION_COOKIE_NAME="garden_shop",
        SESSION_COOKIE_SAMESITE="Lax",
        # A web page elsewhere cannot reach the shop under a name that it makes lead here.
        TRUSTED_HOSTS=["127.0.0.1", "localhost"],
        SQLALCHEMY_DATABASE_URI=folder.database_uri,
        SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 30}},
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=notes.smtp_port or SMTP_PORT,
        MAIL_DEFAULT_SENDER=letters.SHOP,
        SMTP_ADMIN_REDIS_URL=notes.redis_url,
        SMTP_ADMIN_SITE_NAME="Garden Shop",
        SMTP_ADMIN_ACCENT_COLOR="#2f6b3c",
        SMTP_ADMIN_EXIT_SECONDS=2,
    )
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # as long as the session; tabs stay open for days


@smtp_admin.authorize
def may(action: str) -> bool:
    """The shop's one administrator may do everything, others nothing."""
    return login.is_logged_in()


@signals.delivery_failed.connect
@signals.final_delivery_failed.connect
@signals.connection_failed.connect
def note_failure(app: Flask, event: signals.Event) -> None:
    """Keep what went wrong, for the shop's own page. Runs in the worker's process."""
    if event.code == "delivery_failed" and event.final:
        return  # final_delivery_failed says so for each recipient
    db.session.add(
        DeliveryFailure(
            message_id=event.message_id,
            recipient=event.recipient or f"all who wait for {event.connection}",
            subject=event.subject or "",
            reply=event.reply or "",
            final=event.final,
        )
    )
    db.session.commit()


def add_headers(response: Response) -> Response:
    """Put the security headers on the shop's own pages; those of the extension have theirs."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def lost_token(error: CSRFError) -> tuple[str, int]:
    """Explain a form whose token is not good any more."""
    return render_template("problem.html", sentence=error.description), 400
