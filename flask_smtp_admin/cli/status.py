"""``flask smtp-admin status``: whether mail goes out."""

from __future__ import annotations

import json

import click

from flask_smtp_admin import metrics
from flask_smtp_admin.errors import ConfigurationError, OutboxUnavailable
from flask_smtp_admin.metrics import Snapshot
from flask_smtp_admin.wording import counted, moment, relative, span

from .group import current_state, smtp_admin_cli


@smtp_admin_cli.command("status")
@click.option(
    "--json", "as_json", is_flag=True, help="The same report as the page /smtp-admin/health."
)
def status(as_json: bool) -> None:
    """Tell whether mail goes out, and what to do if not. Exits with 1 when unhealthy."""
    state = current_state()
    try:
        snapshot = metrics.take(state.core, state.dispatch)
    except (OutboxUnavailable, ConfigurationError) as error:
        if not as_json:
            raise
        click.echo(json.dumps(metrics.unusable(error), indent=2))
        raise click.exceptions.Exit(1) from error
    if as_json:
        click.echo(json.dumps(metrics.as_data(snapshot), indent=2))
    else:
        _show(snapshot)
    if not snapshot.healthy:
        raise click.exceptions.Exit(1)


def _show(snapshot: Snapshot) -> None:
    if snapshot.healthy:
        click.echo(metrics.first_line(snapshot))
    for problem in snapshot.problems:
        click.echo(f"PROBLEM  {problem.text}")
    for note in snapshot.notes:
        click.echo(f"Note     {note.text}")
    click.echo("")
    age = snapshot.oldest_due_age
    oldest = "" if age is None else f" (the oldest for {span(age)})"
    click.echo(f"Due now {snapshot.due}{oldest}, waiting for later {snapshot.waiting}, ", nl=False)
    stuck = f" ({snapshot.stuck} left behind)" if snapshot.stuck else ""
    click.echo(f"being sent {snapshot.sending}{stuck}, held {snapshot.held}")
    click.echo(f"Today: sent {snapshot.sent_today}, failed {snapshot.failed_today}")
    _show_workers(snapshot)
    _show_connections(snapshot)


def _show_workers(snapshot: Snapshot) -> None:
    if not snapshot.workers:
        click.echo("Workers: none alive")
    for worker in snapshot.workers:
        seen = relative(worker.seen_at, snapshot.taken_at)
        click.echo(f"Worker {worker.kind} on {worker.hostname}, process {worker.pid}, seen {seen}")


def _show_connections(snapshot: Snapshot) -> None:
    zone = current_state().core.config.zone
    for one in snapshot.connections:
        since = ""
        if one.state == "failing" and one.failing_since is not None:
            since = f" since {moment(one.failing_since, zone, snapshot.taken_at)}"
        due = f", {counted(one.due, 'message')} due" if one.due else ""
        click.echo(f"Connection {one.caption} ({one.host}:{one.port}): {one.state}{since}{due}")
