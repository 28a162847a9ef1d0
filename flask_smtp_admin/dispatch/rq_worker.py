"""Our own RQ worker: warm, in process, and delivering even while Redis is away.

Owns running RQ's worker and ours side by side. RQ's must have the main thread, for its signal
handlers; ours delivers in a thread and is rung by the job.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from ..core import State
from ..worker import Worker
from . import jobs
from .rq_bell import connect, make_queue

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0


class WarmWorker(SimpleWorker):
    """RQ's in-process worker, which looks for a Redis that went away every few seconds."""

    max_connection_wait_time = PAUSE_SECONDS


def run(state: State, *, sessions: int | None = None) -> None:
    """Work until SIGTERM or SIGINT; then finish the messages in hand and release the rest."""
    with (
        delivering(state, sessions=sessions) as worker,
        jobs.answered_by(worker.bell.ring),
    ):
        _listen(state)


@contextmanager
def delivering(state: State, *, sessions: int | None = None) -> Iterator[Worker]:
    """Run a worker in a thread while the block lasts."""
    worker = Worker(state.core, kind=state.dispatch, sessions=sessions)
    thread = threading.Thread(target=worker.run, name="smtp-admin-worker")
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()


def _listen(state: State) -> None:
    """Take wake-ups from Redis, again and again while it is down, until a signal ends it."""
    pause = threading.Event()
    while True:
        client = connect(state.core.config, answer_seconds=None)
        queue = make_queue(state.core.config, client)
        try:
            worker = WarmWorker([queue], connection=client, serializer=JSONSerializer)
            worker.work(logging_level="WARNING")
        except redis.RedisError as error:
            logger.warning(
                "Redis cannot be reached: %s. Messages are still delivered, by the sweep; trying "
                "again in %d s.",
                error,
                PAUSE_SECONDS,
            )
            pause.wait(PAUSE_SECONDS)
        else:
            return
