"""``flask smtp-admin connections`` and ``flask smtp-admin test``."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa

from flask_smtp_admin import connections, wording
from flask_smtp_admin.core import Core
from flask_smtp_admin.errors import InvalidConnection, UnknownConnection
from flask_smtp_admin.models import Connection
from flask_smtp_admin.smtp import ProbeReport, Step

from .group import current_state, smtp_admin_cli

SIGNS = {"ok": "✓", "failed": "✗", "skipped": "-"}


@smtp_admin_cli.group("connections")
def connections_group() -> None:
    """List, add and switch the SMTP accounts that carry the mail."""


@connections_group.command("list")
def list_command() -> None:
    """List the connections in their order of use, with their health."""
    core = current_state().core
    with core.database.session() as session:
        found = session.scalars(sa.select(Connection).order_by(*connections.ORDER)).all()
        waiting = connections.waiting_counts(session, found)
    if not found:
        click.echo("No connection yet. Add one: flask smtp-admin connections add --help")
    for connection in found:
        health = connections.describe(
            connection,
            waiting=waiting[connection.id],
            now=core.now(),
            zone=core.config.zone,
            keys=core.keys,
        )
        login = connection.username if connection.use_auth else "no login"
        click.echo(
            f"{connection.id:>4}  {connection.caption}: {connection.host}:{connection.port}, "
            f"{LABELS[connection.encryption.value]}, {login}, from {connection.sender_name} "
            f"<{connection.sender_address}>"
        )
        click.echo(f"      {health.sentence}")


LABELS = {"none": "no encryption", "starttls": "STARTTLS", "implicit": "SSL/TLS"}


@connections_group.command("add")
@click.option("--caption", required=True, help="What the pages call it.")
@click.option("--host", required=True, help="Name or address of the SMTP server.")
@click.option("--port", help="Default: 587 for starttls, 465 for implicit, 25 for none.")
@click.option(
    "--encryption",
    type=click.Choice(["starttls", "implicit", "none"]),
    default="starttls",
    show_default=True,
)
@click.option("--sender-name", required=True, help="The name that recipients see.")
@click.option("--sender-address", required=True, help="The address that recipients see.")
@click.option("--username", default="", help="With one, the password is asked for.")
@click.option(
    "--password",
    envvar="SMTP_ADMIN_CONNECTION_PASSWORD",
    help="Better left to the question or the variable: other users see a command's options.",
)
@click.option("--disabled", is_flag=True, help="Store it without using it.")
def add_command(username: str, password: str | None, disabled: bool, **fields: Any) -> None:
    """Add a connection."""
    if username and password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    core = current_state().core
    try:
        number = connections.create(
            core,
            {
                **fields,
                "username": username,
                "use_auth": bool(username),
                "password": password or "",
                "enabled": not disabled,
            },
        )
    except InvalidConnection as error:
        lines = [f"{name.replace('_', '-')}: {words}" for name, words in error.errors.items()]
        raise click.ClickException("\n       ".join(lines)) from error
    click.echo(f"Connection {number} is stored. Try it: flask smtp-admin test {number}")


@connections_group.command("enable")
@click.argument("connection")
def enable_command(connection: str) -> None:
    """Enable CONNECTION, given by its number or caption."""
    core = current_state().core
    found = _find(core, connection)
    changed = connections.enable(core, found.id)
    click.echo(f"“{found.caption}” {'is enabled' if changed else 'was enabled already'}.")


@connections_group.command("disable")
@click.argument("connection")
def disable_command(connection: str) -> None:
    """Disable CONNECTION, given by its number or caption, unless it is the only enabled one."""
    core = current_state().core
    found = _find(core, connection)
    changed = connections.disable(core, found.id)
    click.echo(f"“{found.caption}” {'is disabled' if changed else 'was disabled already'}.")


@smtp_admin_cli.command("test")
@click.argument("connection", required=False)
@click.option("--to", default="", help="Send a test message to this address.")
def test_command(connection: str | None, to: str) -> None:
    """Try CONNECTION stage by stage; without one, the first that is enabled.

    CONNECTION is a number or a caption. Without --to nothing is sent. Ends with 1 when it fails.
    """
    core = current_state().core
    found = _find(core, connection) if connection is not None else _first(core)
    endpoint = connections.trial_endpoint(found, core)
    click.echo(f"Testing “{found.caption}” at {endpoint.label}")
    report = connections.run(found, endpoint, core, to=to, on_stage=_show)
    connections.record(core, found, report)
    _show_end(report)
    if not report.ok:
        raise SystemExit(1)


def _show(step: Step) -> None:
    color = {"ok": "green", "failed": "red"}.get(step.status)
    spent = f"{step.milliseconds} ms" if step.status != "skipped" else ""
    sign = click.style(SIGNS[step.status], fg=color)
    click.echo(f"  {sign} {step.stage.label:<12} {spent:>8}  {step.remark}")


def _show_end(report: ProbeReport) -> None:
    click.echo()
    click.secho(report.summary, fg="green" if report.ok else "red", bold=True)
    failed = report.failed
    if failed is None:
        return
    if failed.cause:
        click.echo(failed.cause)
    for number, advice in enumerate(failed.advice, start=1):
        click.echo(f"  {number}. {advice}")


def _find(core: Core, wanted: str) -> Connection:
    """Return the connection of a number or caption; a caption of digits wins over a number."""
    with core.database.session() as session:
        found = session.scalars(sa.select(Connection)).all()
    for connection in found:
        if connection.caption.casefold() == wanted.casefold():
            return connection
    for connection in found:
        if str(connection.id) == wanted:
            return connection
    captions = wording.listed(f"“{connection.caption}”" for connection in found)
    there = f"Stored: {captions}." if found else "None is stored yet."
    raise UnknownConnection(f"There is no connection {wanted!r}. {there}")


def _first(core: Core) -> Connection:
    with core.database.session() as session:
        found = session.scalars(
            sa.select(Connection).where(Connection.enabled).order_by(*connections.ORDER)
        ).first()
    if found is None:
        raise UnknownConnection(
            "No connection is enabled. Add one: flask smtp-admin connections add --help"
        )
    return found
