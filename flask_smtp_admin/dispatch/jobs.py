"""The one RQ job: somebody rang.

Owns what the job does in our own worker, and in the stock ``rq worker``. It takes no arguments, so
that nothing in Redis, forged or stale, can make it do anything but look into the database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache

import redis
from flask import Flask, current_app, has_app_context
from flask.cli import ScriptInfo

from ..core import EXTENSION_KEY, State
from ..errors import ConfigurationError
from ..worker import Worker
from . import redis_client
from .rq_bell import JOB, JOB_SECONDS, make_queue, wake_key

DRAIN_SECONDS = 60.0
"""How long one job of the stock worker claims messages; well within the job's time-out."""
LOOK_EVERY = 1.0
"""Seconds between looks at what another process had in hand when this one came."""

_warm: list[Callable[[], None]] = []


@contextmanager
def answered_by(ring: Callable[[], None]) -> Iterator[None]:
    """Let the job ring a worker of this very process, which keeps its SMTP sessions open."""
    _warm.append(ring)
    try:
        yield
    finally:
        _warm.remove(ring)


def drain() -> None:
    """Deliver what is due. Called by RQ.

    :raises ConfigurationError: in the stock worker, ``FLASK_APP`` leads to no application with
        ``SMTPAdmin``.
    """
    if has_app_context():
        _drain()
    else:
        with _application().app_context():
            _drain()


@cache
def _application() -> Flask:
    """Load the application that ``FLASK_APP`` names, once a process."""
    # The variable is an option of the "flask" command; ScriptInfo itself does not look at it.
    return ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()


def _drain() -> None:
    state: State | None = current_app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigurationError("The application that FLASK_APP names has no SMTPAdmin.")
    with redis_client.hurried(state.core.config) as client:
        # Before anything is claimed: who commits from here on must be able to ring again.
        client.delete(wake_key(state.core.config))
        if _warm:
            _warm[-1]()
        else:
            _drain_once(state, client)


def _drain_once(state: State, client: redis.Redis) -> None:
    """Do what a lasting worker does all the time, for as long as one job may take."""
    until = time.monotonic() + DRAIN_SECONDS
    worker = Worker(state.core, kind="rq")

    def prepare_successor() -> None:
        # Should this process be killed, its successor finds another wake-up in the queue.
        if worker.has_due() or worker.has_claimed():
            _ring_behind(state, client)

    prepare_successor()
    worker.drain(seconds=DRAIN_SECONDS, sweeps=True, after_sweep=prepare_successor)
    while worker.has_claimed() and not worker.has_due() and time.monotonic() < until:
        # Another process has them: it will end them, or its leases will end.
        time.sleep(LOOK_EVERY)
        worker.sweep()
    if worker.has_due():
        state.core.ring()
    due_at = worker.next_due_at()
    if due_at is not None:
        _ring_at(state, client, due_at)


def _ring_behind(state: State, client: redis.Redis) -> None:
    """Put a wake-up into the queue that is answered after the present one, by whoever is alive."""
    queue = make_queue(state.core.config, client)
    if not queue.count:  # there is one already, and each would be followed by another
        queue.enqueue(JOB, result_ttl=0, failure_ttl=0, job_timeout=JOB_SECONDS)


def _ring_at(state: State, client: redis.Redis, due_at: datetime) -> None:
    """Have RQ's scheduler ring at a time, where a worker runs one (``--with-scheduler``).

    The second is in the id, so that whoever schedules it, it is one job.
    """
    make_queue(state.core.config, client).enqueue_at(
        due_at + timedelta(seconds=1),
        JOB,
        job_id=f"smtp-admin-due-{due_at:%Y%m%d%H%M%S}",
        result_ttl=0,
        failure_ttl=0,
        job_timeout=JOB_SECONDS,
    )
