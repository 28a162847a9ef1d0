"""``flask smtp-admin connections`` and ``flask smtp-admin test``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import click
import sqlalchemy as sa

from flask_smtp_admin import connections, wording
from flask_smtp_admin.config import Config
from flask_smtp_admin.connections.rules import DEFAULTS, RANGES, SECONDS
from flask_smtp_admin.core import Core
from flask_smtp_admin.errors import InvalidConnection, UnknownConnection
from flask_smtp_admin.models import AuthMechanism, Connection, Encryption
from flask_smtp_admin.models.connection import DEFAULT_PORTS
from flask_smtp_admin.smtp import ProbeReport, Step
from flask_smtp_admin.wording import Count

from .group import current_state, smtp_admin_cli

OPTIONS = {
    "ca_certificate": "ca-file",
    "fallback_id": "fallback",
    "sender_patterns": "sender-pattern",
}
"""The fields whose options have another name."""
PORTS = ", ".join(f"{port} for {encryption.value}" for encryption, port in DEFAULT_PORTS.items())
Command = TypeVar("Command", bound=Callable[..., Any])
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
        now = core.database_time(session.connection())
    if not found:
        click.echo("No connection yet. Add one: flask smtp-admin connections add --help")
    for connection in found:
        health = connections.describe(
            connection,
            waiting=waiting[connection.id],
            now=now,
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


def _number(name: str, meaning: str) -> Callable[[Command], Command]:
    """Return the option of a field that holds a whole number, whose rule looks at what was typed."""
    low, high, unit = RANGES[name]
    default = DEFAULTS[name]
    shown = "no limit" if default is None else f"{default:,}"
    if name == "max_attempts":
        shown = f"SMTP_ADMIN_MAX_ATTEMPTS, {Config.max_attempts} where that is not set"
    return click.option(
        f"--{name.replace('_', '-')}",
        metavar="SECONDS" if unit == SECONDS else "NUMBER",
        help=f"{meaning}, {low:,} to {high:,}. Default: {shown}.",
    )


@connections_group.command("add")
@click.option("--caption", required=True, help="What the pages call it.")
@click.option("--host", required=True, help="Name or address of the SMTP server.")
@click.option("--port", metavar="NUMBER", help=f"Default: {PORTS}.")
@click.option(
    "--encryption",
    type=click.Choice([encryption.value for encryption in Encryption]),
    default=DEFAULTS["encryption"].value,
    show_default=True,
    help="STARTTLS, TLS from the first byte, or no encryption.",
)
@click.option("--sender-name", required=True, help="The name that recipients see.")
@click.option("--sender-address", required=True, help="The address that recipients see.")
@click.option("--username", default="", help="With one, the password is asked for.")
@click.option(
    "--password",
    envvar="SMTP_ADMIN_CONNECTION_PASSWORD",
    help="Better left to the question or the variable: other users see a command's options.",
)
@click.option(
    "--auth-mechanism",
    type=click.Choice([mechanism.value for mechanism in AuthMechanism], case_sensitive=False),
    help=f"Default: {DEFAULTS['auth_mechanism'].value}, the best that the server offers.",
)
@click.option("--allow-plain-auth", is_flag=True, help="Send the password without encryption.")
@click.option(
    "--ca-file",
    type=click.File(encoding="utf-8", errors="replace"),
    help="Certificate in PEM format, of a private authority or of the server.",
)
@click.option(
    "--sender-pattern",
    "sender_patterns",
    multiple=True,
    help="Carry what this sender sends: an address, or *@example.org. May be repeated.",
)
@click.option("--fallback", help="Number or caption of the connection that takes over.")
@click.option(
    "--hands-over/--waits",
    default=True,
    help="While it is broken, the next one that carries the same senders takes over, or its mail "
    "waits. Default: --hands-over.",
)
@click.option(
    "--driver",
    help=f"Default: {DEFAULTS['driver']}; others are those that the application registers.",
)
@_number("limit_per_minute", "Messages at most a minute")
@_number("limit_per_hour", "Messages at most an hour")
@_number("limit_per_day", "Messages at most a day")
@_number("max_sessions", "SMTP sessions at the same time, over all workers")
@_number("messages_per_session", "Messages after which a session is closed")
@_number("max_attempts", "Tries of a message")
@_number("connect_timeout", "To connect")
@_number("reply_timeout", "To wait for a reply")
@_number("final_timeout", "To wait for the reply to a whole message")
@_number("session_deadline", "After which a session ends, but for the reply to a whole message")
@click.option("--disabled", is_flag=True, help="Store it without using it.")
def add_command(
    username: str,
    password: str | None,
    sender_patterns: tuple[str, ...],
    ca_file: TextIO | None,
    fallback: str | None,
    disabled: bool,
    **fields: Any,
) -> None:
    """Add a connection. What is not said has its default, that of the page's form."""
    core = current_state().core
    fallback_id = None if fallback is None else find_connection(core, fallback).id
    if username and password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        number = connections.create(
            core,
            {
                **{name: value for name, value in fields.items() if value is not None},
                "username": username,
                "use_auth": bool(username),
                "password": password or "",
                "sender_patterns": "\n".join(sender_patterns),
                "ca_certificate": None if ca_file is None else ca_file.read(),
                "fallback_id": fallback_id,
                "enabled": not disabled,
            },
        )
    except InvalidConnection as error:
        raise click.ClickException("\n       ".join(_lines(error))) from error
    click.echo(f"Connection {number} is stored. Try it: flask smtp-admin test {number}")


def _lines(error: InvalidConnection) -> list[str]:
    """Return the sentence of each field, under the name of its option."""
    return [
        f"{OPTIONS.get(name, name.replace('_', '-'))}: {words}"
        for name, words in error.errors.items()
    ]


@connections_group.command("enable", short_help="Enable a connection.")
@click.argument("connection")
def enable_command(connection: str) -> None:
    """Enable CONNECTION, given by its number or caption."""
    core = current_state().core
    found = find_connection(core, connection)
    changed = connections.enable(core, found.id)
    click.echo(f"“{found.caption}” {'is enabled' if changed else 'was enabled already'}.")


@connections_group.command("disable", short_help="Disable a connection.")
@click.argument("connection")
def disable_command(connection: str) -> None:
    """Disable CONNECTION, given by its number or caption, unless it is the only enabled one."""
    core = current_state().core
    found = find_connection(core, connection)
    waited = _waiting(core, found)
    changed = connections.disable(core, found.id)
    click.echo(f"“{found.caption}” {'is disabled' if changed else 'was disabled already'}.")
    words = connections.after_disabling(waited, _waiting(core, found))
    if changed and words:
        click.echo(words)


def _waiting(core: Core, connection: Connection) -> Count:
    with core.database.session() as session:
        return connections.waiting_counts(session, [connection])[connection.id]


@smtp_admin_cli.command("test", short_help="Try a connection stage by stage.")
@click.argument("connection", required=False)
@click.option("--to", default="", help="Send a test message to this address.")
def test_command(connection: str | None, to: str) -> None:
    """Try CONNECTION stage by stage; without one, the first that is enabled.

    CONNECTION is a number or a caption. Without --to nothing is sent. Ends with 1 when it fails.
    """
    core = current_state().core
    found = find_connection(core, connection) if connection is not None else _first(core)
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


def find_connection(core: Core, wanted: str) -> Connection:
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
