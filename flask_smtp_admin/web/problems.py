"""The pages of what goes wrong: refused, not found, token lost, database away, setting missing.

Owns their words. Each says what happened, that nothing was lost, and what to do. Must not know the
other pages.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import abort, current_app, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from flask_smtp_admin.errors import ConfigurationError, OutboxUnavailable, SecretUnreadable

from . import access
from .rendering import home_url


def nowhere(path: str) -> str:
    """Answer for an address that no page has."""
    del path
    abort(404)


def problem(
    status: int, title: str, sentence: str, *steps: str, back: str | None = None
) -> tuple[str, int]:
    """Return a page with a title, what happened, and what to do."""
    page = render_template(
        "smtp_admin/problems/show.html",
        title=title,
        sentence=sentence,
        steps=steps,
        back=back,
        open=access.declared_action(request.endpoint) == access.OPEN,
    )
    return page, status


def refused(error: HTTPException) -> tuple[str, int]:
    """Say that the host does not allow it; in debug mode, say to the developer what to write."""
    del error
    state = access.state()
    action = (
        request.environ.get("smtp_admin.refused")
        or access.declared_action(request.endpoint)
        or "view"
    )
    page = render_template(
        "smtp_admin/problems/refused.html",
        action=action,
        unset=state.authorize is None,
        debug=current_app.debug,
    )
    return page, 403


def not_found(error: HTTPException) -> tuple[str, int]:
    """Say that nothing is here."""
    words = error.description if error.description and error.response is None else ""
    own = words if words and not words.startswith("The requested URL") else ""
    return problem(
        404,
        "Nothing is here",
        own or "No page has this address. What it showed may have been deleted since.",
    )


def bad_request(error: HTTPException) -> tuple[str, int]:
    """Say that the request was not one that these pages make."""
    if isinstance(error, CSRFError):  # by the host's CSRFProtect
        return token_lost(error)
    return problem(
        400,
        "This request cannot be understood",
        "Something was sent that none of these pages sends. Nothing was changed.",
        back=_where_from(),
    )


def token_lost(error: Exception) -> tuple[str, int]:
    """Say that the form's token is not good any more."""
    del error
    return problem(
        400,
        "Reload and try again",
        "The page was open for too long, or you have logged in anew since, so its form could not "
        "be trusted any more. Nothing was changed. Reload the page and try again.",
        back=_where_from(),
    )


def outbox_unavailable(error: OutboxUnavailable) -> tuple[str, int]:
    """Say that the database is away, in the words of the error."""
    title = "The outbox database cannot be used"
    current_app.logger.error("%s: %s", title, error)
    return problem(
        503,
        title,
        str(error).removeprefix(f"{title}. "),
        "Nothing that was queued is lost: it is delivered once the database is back.",
        back=request.full_path.rstrip("?") if request.method == "GET" else _where_from(),
    )


def secret_unreadable(error: SecretUnreadable) -> tuple[str, int]:
    """Say that a stored password does not open with the keys of today."""
    return problem(500, "A stored password cannot be read", str(error), back=_where_from())


def wrong_setting(error: ConfigurationError) -> tuple[str, int]:
    """Say which setting is missing or wrong, in the words of the error."""
    current_app.logger.error("%s", error)
    return problem(500, "A setting is missing or wrong", str(error))


def _where_from() -> str:
    """Return the page that the request came from, if it is one of ours, otherwise the first."""
    parts = urlsplit(request.referrer or "")
    if parts.netloc == request.host and parts.path.startswith(access.state().url_prefix):
        return parts.path + (f"?{parts.query}" if parts.query else "")
    return home_url()
