"""``flask smtp-admin worker``: deliver."""

from __future__ import annotations

import math
import time

import click

from ..core import Core
from ..worker import Worker
from .group import current_state, smtp_admin_cli

LOOK_EVERY = 0.5
"""Seconds."""


@smtp_admin_cli.command("worker")
@click.option("--burst", is_flag=True, help="Deliver what is due now, then end.")
@click.option(
    "--sessions",
    type=click.IntRange(1, 200),
    help="SMTP sessions at most, over all connections. Default: SMTP_ADMIN_SESSIONS.",
)
def worker_command(burst: bool, sessions: int | None) -> None:
    """Deliver messages until it is told to end (SIGTERM, Ctrl-C).

    With SMTP_ADMIN_REDIS_URL it is woken over RQ; without, it looks every few seconds. It can be
    started as often as you like: no message is taken by two.
    """
    state = current_state()
    if burst:
        sent = _burst(state.core, sessions)
        click.echo(f"{sent} message{'' if sent == 1 else 's'} accepted by their servers.")
        return
    if state.core.config.redis_url:
        click.echo(
            f"Waiting for messages on the queue {state.core.config.queue_name!r}. Ctrl-C ends it."
        )
    else:
        click.echo("Looking for messages; no Redis is configured. Ctrl-C ends it.")
    from ..dispatch import rq_worker  # noqa: PLC0415  (RQ costs every start of an application)

    rq_worker.run(state, sessions=sessions)
    click.echo("Stopped; nothing is left half done.")


def _burst(core: Core, sessions: int | None) -> int:
    """Deliver what is due, and then what a worker that is gone had in hand."""
    worker = Worker(core, kind="burst", sessions=sessions)
    worker.sweep()
    sent = worker.drain()
    if not worker.has_left():
        return sent
    seconds = worker.pace.doubt
    click.echo(
        "A worker had messages in hand and has not been heard of. It may have been cut off from the "
        f"database just now: in {math.ceil(seconds)} s they are taken back, if it stays so."
    )
    last = Worker(core, kind="burst", sessions=sessions, clockwork=worker.clockwork)
    until = time.monotonic() + seconds + LOOK_EVERY
    while last.has_left() and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        last.sweep()
    return sent + last.drain()
