"""``flask smtp-admin worker``: deliver."""

from __future__ import annotations

import click

from flask_smtp_admin import metrics
from flask_smtp_admin.config import Config
from flask_smtp_admin.core import State
from flask_smtp_admin.wording import agreeing, counted

from .group import current_state, smtp_admin_cli

OF_OTHER_TIMES = frozenset({"no_worker", "idle", "failed_today"})
"""What a burst need not be told: that no worker runs after it, and what was given up before."""


@smtp_admin_cli.command("worker")
@click.option("--burst", is_flag=True, help="Deliver what is due now, then end.")
@click.option(
    "--sessions",
    type=click.IntRange(1, 200),
    help="SMTP sessions at most, over all connections. Default: SMTP_ADMIN_SESSIONS, "
    f"{Config.sessions} where that is not set.",
)
def worker_command(burst: bool, sessions: int | None) -> None:
    """Deliver messages until it is told to end (SIGTERM, Ctrl-C).

    With SMTP_ADMIN_REDIS_URL it is woken over RQ; without, it looks every 15 seconds, and when one
    is due. It can be started as often as you like: no message is taken by two.
    """
    # Imported here, as they would cost every start of an application.
    from ..dispatch import burst as bursting  # noqa: PLC0415
    from ..dispatch import rq_worker  # noqa: PLC0415

    state = current_state()
    if burst:
        sent = bursting.deliver_due(state.core, sessions=sessions, say=click.echo)
        servers = agreeing(sent, "its server", "their servers")
        click.echo(f"{counted(sent, 'message')} accepted by {servers}.")
        _tell_what_is_left(state)
        return
    if state.core.config.redis_url:
        click.echo(
            f"Waiting for messages on the queue {state.core.config.queue_name!r}. Ctrl-C ends it."
        )
    else:
        click.echo("Looking for messages; no Redis is configured. Ctrl-C ends it.")
    rq_worker.run(state, sessions=sessions)
    click.echo("Stopped; nothing is left half done.")


def _tell_what_is_left(state: State) -> None:
    """Say what a burst has left, and why: nobody looks after it until the next one."""
    snapshot = metrics.take(state.core, state.dispatch)
    left = {
        "due now": snapshot.due,
        "waiting for later": snapshot.waiting,
        "being sent": snapshot.sending,
        "held": snapshot.held,
    }
    if not any(left.values()):
        return
    click.echo(f"Left: {', '.join(f'{what} {count}' for what, count in left.items() if count)}.")
    for one in (*snapshot.problems, *snapshot.notes):
        if one.code not in OF_OTHER_TIMES:
            click.echo(one.text)
