"""The one RQ job: somebody rang.

Owns what the job does in our own worker, and in the stock ``rq worker``. It takes no arguments, so
that nothing in Redis, forged or stale, can make it do anything but look into the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis
from flask import current_app, has_app_context
from flask.cli import ScriptInfo

from ..core import EXTENSION_KEY, State
from ..errors import ConfigurationError
from ..worker import Worker
from .rq_bell import JOB, JOB_SECONDS, connect, make_queue, wake_key

DRAIN_SECONDS = 60.0
"""How long one job of the stock worker claims messages; well within the job's time-out."""
DUE_JOB_ID = "smtp-admin-due"

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
        with ScriptInfo().load_app().app_context():
            _drain()


def _drain() -> None:
    state: State | None = current_app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigurationError("The application that FLASK_APP names has no SMTPAdmin.")
    config = state.core.config
    client = connect(config)
    # Before anything is claimed: who commits a message from here on must be able to ring again.
    client.delete(wake_key(config))
    if _warm:
        _warm[-1]()
        return
    worker = Worker(state.core, kind="rq")
    worker.sweep()
    worker.drain(seconds=DRAIN_SECONDS)
    if worker.has_due():
        state.core.ring()
    _ring_when_due(state, client, worker)


def _ring_when_due(state: State, client: redis.Redis, worker: Worker) -> None:
    """Have RQ's scheduler ring when the next message is due, where a worker runs one.

    The id makes it one job, whoever schedules it.
    """
    due_at = worker.next_due_at()
    if due_at is not None:
        make_queue(state.core.config, client).enqueue_at(
            due_at, JOB, job_id=DUE_JOB_ID, result_ttl=0, failure_ttl=0, job_timeout=JOB_SECONDS
        )
