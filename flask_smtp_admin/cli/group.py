"""The click group, and how its commands find the application and show errors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from ..core import EXTENSION_KEY, State
from ..dispatch import onlooker
from ..errors import SMTPAdminError

MODULES = ("connections", "database", "queue", "status", "worker")
"""Each adds its commands to the group."""


class _Group(AppGroup):
    """Shows our own errors as a sentence, and starts no delivery behind a command's back.

    Its commands are imported when somebody asks for one of them: every process of an application
    starts, few of them for a command.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        _import_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of this name."""
        _import_commands()
        return super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        looking = onlooker.set(True)
        try:
            return super().invoke(ctx)
        except SMTPAdminError as error:
            raise click.ClickException(str(error)) from error
        finally:
            onlooker.reset(looking)


def _import_commands() -> None:
    for module in MODULES:
        import_module(f"{__package__}.{module}")


smtp_admin_cli = _Group("smtp-admin", help="See and steer the mail of this application.")


def current_state() -> State:
    """Return the extension's state of the application that the command runs for."""
    state: State = current_app.extensions[EXTENSION_KEY]
    return state
