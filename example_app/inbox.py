"""The inbox pages: what the local mail server received.

Owns the list, one message, and its HTML, which is shown in a frame that may do nothing.
"""

from __future__ import annotations

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as AnyResponse

from . import received
from .received import Received
from .surroundings import surroundings

PAGE = 25
FRAME_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "frame-ancestors 'self'; base-uri 'none'; sandbox"
)

blueprint = Blueprint("inbox", __name__, url_prefix="/inbox")


@blueprint.get("/")
def show() -> str:
    """List the newest messages, a page at a time."""
    folder = surroundings().folder.mail
    names = received.names(folder)
    last = max(0, (len(names) - 1) // PAGE * PAGE)  # an old address may lead beyond the end
    start = min(max(0, request.args.get("start", 0, int)), last)
    found = (received.read(folder, name) for name in names[start : start + PAGE])
    lines = [(one.name, received.headers(one.content)) for one in found if one is not None]
    return render_template(
        "inbox.html",
        lines=lines,
        header=received.header,
        total=len(names),
        start=start,
        newer=max(0, start - PAGE) if start else None,
        older=start + PAGE if start + PAGE < len(names) else None,
    )


@blueprint.get("/<name>")
def message(name: str) -> str:
    """Show one message: headers, text, HTML in a frame, attachments."""
    found = _find(name).message
    return render_template(
        "message.html",
        name=name,
        message=found,
        header=received.header,
        text=received.text(found),
        has_html=received.has_html(found),
        attachments=received.attachments(found),
    )


@blueprint.get("/<name>/html")
def html(name: str) -> Response:
    """Give the HTML part for the frame: no scripts, no forms, nothing from elsewhere."""
    response = make_response(received.html(_find(name).message))
    response.headers["Content-Security-Policy"] = FRAME_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


@blueprint.get("/<name>/source")
def source(name: str) -> Response:
    """Give the bytes as they arrived, as plain text."""
    response = make_response(_find(name).content)
    response.mimetype = "text/plain"
    return response


@blueprint.post("/clear")
def clear() -> AnyResponse:
    """Delete what was received."""
    count = received.clear(surroundings().folder.mail)
    flash(f"{count} received message{'' if count == 1 else 's'} deleted.", "done")
    return redirect(url_for("inbox.show"), code=303)


def _find(name: str) -> Received:
    found = received.read(surroundings().folder.mail, name)
    if found is None:
        abort(404)
    return found
