"""A small shop that shows flask-smtp-admin at work; ``python -m example_app`` starts all of it.

Owns nothing but the name under which Flask finds the application (``flask --app example_app …``).
Must not import Flask itself: the supervisor and the mail server, which are in this package too,
start faster without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def create_app() -> Flask:
    """Return the shop; ``FLASK_APP=example_app`` leads here."""
    from .application import build  # noqa: PLC0415  (see above)

    return build()
