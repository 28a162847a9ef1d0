"""``flask smtp-admin db``: the tables of a database that the outbox owns."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from .. import migrations
from .group import current_state, smtp_admin_cli


@smtp_admin_cli.group("db", cls=AppGroup)
def database_group() -> None:
    """Create or upgrade the tables of the outbox's own database."""


@database_group.command("upgrade")
def upgrade() -> None:
    """Bring the tables up to date. Safe to run again, and while the application runs."""
    _refuse_host_database()
    engine = current_state().core.database.engine  # which prepares the tables on its first use
    migrations.upgrade(engine)
    click.echo(f"The tables are at revision {migrations.current(engine)}.")


@database_group.command("current", short_help="Show whether the tables are up to date.")
def current() -> None:
    """Show the revision of the tables, and the one that this version needs."""
    _refuse_host_database()
    engine = current_state().core.database.bare_engine
    found, needed = migrations.current(engine), migrations.head()
    click.echo(f"{found or 'no tables yet'} (this version needs {needed})")
    if found != needed:
        raise click.exceptions.Exit(1)


def _refuse_host_database() -> None:
    if current_state().core.database.is_hosts:
        raise click.ClickException(
            f"The outbox is in the database of {current_app.name}, whose own migrations make its "
            "tables: run 'flask db migrate' and 'flask db upgrade', or db.create_all()."
        )
