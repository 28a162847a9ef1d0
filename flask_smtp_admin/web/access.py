"""Who may see and do what: the blueprint, its routes, and the guards before each of them.

Owns the action that every route declares, the CSRF check and the security headers. Must not know
what any page shows.

A view is registered with :func:`route`, never with the blueprint itself; one that is registered in
another way has no action and is refused. The function's name is the endpoint, and ``<page>_<view>``
renders ``smtp_admin/<page>/<view>.html``.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from importlib import import_module
from typing import Any

from flask import (
    Blueprint,
    Request,
    Response,
    abort,
    after_this_request,
    current_app,
    g,
    request,
    session,
)
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import Forbidden, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from flask_smtp_admin.core import EXTENSION_KEY, Core, State
from flask_smtp_admin.errors import ConfigurationError
from flask_smtp_admin.late import importing

ACTIONS = frozenset(
    {"view", "read_body", "operate", "configure", "test", "export", "erase", "audit"}
)
OPEN = "open"
"""For what holds no data: style sheets and scripts. The page of a refusal needs them."""
PROBE = "probe"
"""For the report that monitoring reads: its bearer token opens it, or else the action ``view``."""

blueprint = Blueprint(
    "smtp_admin",
    __name__,
    template_folder="templates",
    static_folder="static/smtp_admin",
    static_url_path="/static",
)

_declared: dict[str, str] = {"smtp_admin.static": OPEN}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The host's CSRFProtect compares the referrer over TLS, so it may not be withheld from it.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def route(
    rule: str, module: str, view: str, *, action: str, methods: tuple[str, ...] = ("GET",)
) -> None:
    """Have a view answer at ``rule`` for those whom the host allows ``action``.

    :param module: of this package, in which the view is; see :func:`later`.
    :param action: one of :data:`ACTIONS`; :data:`OPEN` only for what holds no data.
    :raises ValueError: it is no action.
    """
    if action not in ACTIONS | {OPEN, PROBE}:
        raise ValueError(f"{action!r} is no action; known are {', '.join(sorted(ACTIONS))}.")
    blueprint.add_url_rule(rule, view, later(module, view), methods=methods)
    _declared[f"{blueprint.name}.{view}"] = action


def later(module: str, name: str) -> Callable[..., Any]:
    """Return a function that calls the one of this name, importing its module only then.

    Every process of an application starts, few of them show a page, and the pages need what nobody
    else does: a third of the time that all of this package takes to import.
    """

    def call(*args: Any, **given: Any) -> Any:
        with importing():
            view = getattr(import_module(where), name)
        return view(*args, **given)

    where = f"{__package__}.{module}"
    # What Flask, its extensions and a traceback call it by.
    call.__module__, call.__name__, call.__qualname__ = where, name, name
    return call


def declared_action(endpoint: str | None) -> str | None:
    """Return the action of an endpoint, or ``None`` when it declared none."""
    return _declared.get(endpoint or "")


def state() -> State:
    """Return the present application's share of the extension."""
    found: State = current_app.extensions[EXTENSION_KEY]
    return found


def core() -> Core:
    """Return what the engine works with in the present application."""
    return state().core


def may(action: str) -> bool:
    """Tell whether the host allows ``action``; asked once a request."""
    # Not in g: code and tests of the host may keep one application context over several requests.
    asked: dict[str, bool] = request.environ.setdefault("smtp_admin.allowed", {})
    if action not in asked:
        asked[action] = state().allowed(action)
    return asked[action]


def require(action: str) -> None:
    """Refuse the request with 403 unless the host allows ``action`` as well."""
    if not may(action):
        request.environ["smtp_admin.refused"] = action
        abort(403)


LARGEST_NUMBERS = {"connection_id": 2**31 - 1, "number": 2**63 - 1}
"""What the columns hold; a database answers a larger number with an error of its own."""


@blueprint.before_request
def guard() -> None:
    """Let a request through only with its route's action and, if it changes anything, a token."""
    action = declared_action(request.endpoint)
    if action == OPEN:
        return
    if action is None:
        abort(403)
    if action == PROBE:
        action = None if probe_token_given() else "view"
    if action is not None:
        require(action)
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        check_csrf()
    given = request.view_args or {}
    if any(given.get(name, 0) > largest for name, largest in LARGEST_NUMBERS.items()):
        abort(404)


def probe_token_given() -> bool:
    """Tell whether the request carries ``SMTP_ADMIN_PROBE_TOKEN`` as a bearer token (RFC 6750)."""
    token, sent = core().config.probe_token, request.authorization
    if not token or sent is None or sent.type != "bearer" or not sent.token:
        return False
    return hmac.compare_digest(sent.token.encode(), token.encode())


class CSRFFailed(Exception):
    """The token of a form is missing, expired, or from another session."""


def check_csrf() -> None:
    """Check the token of the form, unless the host's ``CSRFProtect`` has done so already.

    The host's ``WTF_CSRF_ENABLED = False`` counts in tests only: these pages hold passwords.

    :raises CSRFFailed: the token is not good.
    :raises ConfigurationError: there is no ``SECRET_KEY`` to make tokens with.
    """
    if g.get("csrf_valid"):
        return
    config = current_app.config
    if current_app.testing and not config.get("WTF_CSRF_ENABLED", True):
        return
    with importing():
        from flask_wtf.csrf import validate_csrf  # noqa: PLC0415  (as for the pages, see later)
        from wtforms.validators import ValidationError  # noqa: PLC0415

    _require_secret_key()
    field = config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
    sent = request.form.get(field) or request.headers.get("X-CSRFToken")
    try:
        validate_csrf(sent)
    except ValidationError as error:
        raise CSRFFailed(str(error)) from None
    g.csrf_valid = True


def csrf_field_name() -> str:
    """Return the name of the form field that carries the token, as the host configured it."""
    return str(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"))


def csrf_token() -> str:
    """Return the token for the forms of this page.

    :raises ConfigurationError: there is no ``SECRET_KEY`` to make it with.
    """
    with importing():
        from flask_wtf.csrf import generate_csrf  # noqa: PLC0415  (as for the pages, see later)

    _require_secret_key()
    return str(generate_csrf())


def _require_secret_key() -> None:
    if not current_app.secret_key:
        raise ConfigurationError(
            "The application has no SECRET_KEY, so these pages cannot keep a form safe. Set "
            "app.config['SECRET_KEY'] to the output of "
            "python -c 'import secrets; print(secrets.token_hex())', keep it the same from start "
            "to start, and restart the application."
        )


@blueprint.after_request
def add_headers(response: Response) -> Response:
    """Put the security headers on every answer below our prefix, and keep pages out of caches."""
    unrouted = request.routing_exception
    if (
        isinstance(unrouted, (NotFound, MethodNotAllowed, RequestRedirect))
        and response.status_code == unrouted.code
        and not may("view")
    ):
        _refuse(response)
    for name, value in HEADERS.items():
        response.headers[name] = value
    if response.status_code >= 400 or declared_action(request.endpoint) != OPEN:
        response.headers["Cache-Control"] = "no-store"
    return response


def _refuse(response: Response) -> None:
    """Turn what Flask answers without any view into a refusal: it would tell what is here.

    Only now, since functions of the host that run before a request may find out who the user is.
    """
    response.direct_passthrough = False
    response.status_code = 403
    response.mimetype = "text/html"
    response.set_data(Forbidden().get_body())
    for name in ("Location", "Allow"):
        response.headers.pop(name, None)


@blueprint.record
def _see_unrouted(setup: BlueprintSetupState) -> None:
    """Have those requests below our prefix answered likewise that Flask takes for nobody's.

    They are for a method that an address does not take, lack a slash, or lead nowhere. Asked where
    Flask gives up on them, so that the application's other requests need not be asked.
    """
    app: Any = setup.app
    prefix = (setup.url_prefix or "").rstrip("/")
    give_up = app.raise_routing_exception

    def mark_and_give_up(request: Request) -> Any:
        if prefix and f"{request.path}/".startswith(f"{prefix}/"):
            after_this_request(add_headers)
        return give_up(request)

    app.raise_routing_exception = mark_and_give_up


def client() -> str:
    """Return what tells one user from another, as far as these pages can know it.

    Flask-Login keeps the user's number in the session, and sessions that are stored on the server
    have a number of their own. Otherwise the address has to do; of an IPv6 address the first 64
    bits, since one client has all the others to itself (RFC 4291, section 2.5.1).
    """
    user = session.get("_user_id")
    if user:
        return f"user {user}"
    number = getattr(session, "sid", None)
    if number and not session.new:
        return f"session {number}"
    return f"address {_network(request.remote_addr or '')}"


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
