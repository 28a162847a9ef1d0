"""What the shop's pages need besides the request: the data folder and the mail server's switch.

Owns where the application keeps both.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from .folder import DataFolder
from .mail_control import MailControl

KEY = "example_app"


@dataclass(frozen=True)
class Surroundings:
    """One application's share of the example."""

    folder: DataFolder
    mail_server: MailControl


def surroundings() -> Surroundings:
    """Return those of the present application."""
    found: Surroundings = current_app.extensions[KEY]
    return found
