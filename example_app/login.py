"""The shop's login: one administrator, whose password was made at the first start.

Owns the session, and the guard before the shop's own pages; those of the extension ask its
``authorize`` function.
"""

from __future__ import annotations

import hmac

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from werkzeug.exceptions import SecurityError
from werkzeug.wrappers import Response

from .surroundings import surroundings

USER = "admin"

blueprint = Blueprint("login", __name__)


def is_logged_in() -> bool:
    """Tell whether the administrator is at the other end."""
    return session.get("user") == USER


@blueprint.before_app_request
def guard() -> Response | None:
    """Lead everybody else from the shop's pages to the login."""
    if isinstance(request.routing_exception, SecurityError):
        return None  # a foreign Host: Flask answers 400, and no address can be built for it
    open_to_all = request.blueprint in ("login", "smtp_admin") or request.endpoint == "static"
    if open_to_all or is_logged_in():
        return None
    return redirect(url_for("login.show"))


@blueprint.get("/login")
def show() -> str | Response:
    """Ask for the password."""
    return redirect(url_for("shop.show")) if is_logged_in() else render_template("login.html")


@blueprint.post("/login")
def enter() -> Response:
    """Compare the password, and begin a session.

    Wrong ones are not counted: the password has 60 random bits, so that no guessing finds it, and
    all clients are this machine, so that a count would let anybody lock the administrator out.
    """
    password = surroundings().folder.password()
    right = hmac.compare_digest(
        request.form.get("password", "").strip().encode(), password.encode()
    )
    if not right or request.form.get("user", "").strip() != USER:
        flash("That is not it. The terminal in which the example runs shows the login.", "error")
        return redirect(url_for("login.show"), code=303)
    session.clear()
    session["user"] = USER
    session.permanent = True
    return redirect(url_for("shop.show"), code=303)


@blueprint.post("/logout")
def leave() -> Response:
    """End the session."""
    session.clear()
    return redirect(url_for("login.show"), code=303)
