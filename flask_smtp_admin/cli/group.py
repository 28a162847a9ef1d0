"""The click group, and how its commands find the application and show errors."""

from __future__ import annotations

from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from ..core import EXTENSION_KEY, State
from ..dispatch import onlooker
from ..errors import SMTPAdminError


class _Group(AppGroup):
    """Shows our own errors as a sentence, and starts no delivery behind a command's back."""

    def invoke(self, ctx: click.Context) -> Any:
        looking = onlooker.set(True)
        try:
            return super().invoke(ctx)
        except SMTPAdminError as error:
            raise click.ClickException(str(error)) from error
        finally:
            onlooker.reset(looking)


smtp_admin_cli = _Group("smtp-admin", help="See and steer the mail of this application.")


def current_state() -> State:
    """Return the extension's state of the application that the command runs for."""
    state: State = current_app.extensions[EXTENSION_KEY]
    return state
