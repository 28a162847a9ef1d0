"""Our own RQ worker: warm, in process, and delivering even while Redis is away.

Owns running RQ's worker and ours side by side, and ending both on a signal. RQ's has the main
thread, since only that one is interrupted by signals; ours delivers in a thread and is rung by the
job. Must not run any job but ours, whatever somebody has put into Redis.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from ..core import State
from ..worker import Worker
from . import jobs, redis_client
from .ending import SIGNALS, Ending
from .rq_bell import JOB, make_queue

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0


class WakeUp(Job):
    """A job as it comes from Redis, reduced to "somebody rang".

    RQ imports and calls whatever function a job names, as the job itself, as its callbacks, and
    sends web requests for its webhooks. Who can write to Redis must not get that far.
    """

    @property
    def func(self) -> Callable[[], None]:
        """The one function that is ever called.

        :raises ValueError: the job names another one.
        """
        if self.func_name != JOB:
            raise ValueError(f"The job names {self.func_name!r}, which is none of ours.")
        return jobs.drain

    @property
    def success_callback(self) -> None:
        """Nothing."""

    @property
    def failure_callback(self) -> None:
        """Nothing."""

    @property
    def stopped_callback(self) -> None:
        """Nothing."""

    def send_webhooks(self, *args: Any, **kwargs: Any) -> None:
        """Send nothing."""


class WarmWorker(SimpleWorker):
    """RQ's in-process worker, which looks for a Redis that went away every few seconds."""

    max_connection_wait_time = PAUSE_SECONDS
    job_class = WakeUp

    def _install_signal_handlers(self) -> None:
        """Leave them to :class:`_Ending`, which outlasts a Redis that goes away."""

    def subscribe(self) -> None:
        """Listen for RQ's own commands, in a thread."""
        with _spared():
            super().subscribe()  # type: ignore[no-untyped-call]

    def end_soon(self) -> None:
        """End after the job in hand. Called by a signal handler.

        :raises StopRequested: there is none.
        """
        self._stop_requested = True
        self._end_if_idle()

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """Report to Redis, unless it is time to end.

        A Redis client that is just failing turns :class:`StopRequested` into an error of its own,
        and RQ's loop asks a Redis that is down again and again without a look at the request.

        :raises StopRequested: the end was asked for, and no job is in hand.
        """
        if self._stop_requested:
            self._end_if_idle()
        super().heartbeat(*args, **kwargs)

    def _end_if_idle(self) -> None:
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested


class _Ending(Ending):
    """The first signal ends in order, the second at once."""

    def __init__(self) -> None:
        super().__init__()
        self.rq_worker: WarmWorker | None = None

    def act(self) -> None:
        """Have RQ's worker end.

        :raises StopRequested: there is none, or it has nothing in hand.
        """
        if self.rq_worker is None:
            raise StopRequested
        self.rq_worker.end_soon()


@contextmanager
def _spared() -> Iterator[None]:
    """Have threads that are started in the block, and theirs, never get the signals.

    Python runs handlers in the main thread alone, and a signal that another thread got does not
    wake that one. The system may choose any, after SIGSTOP and SIGCONT for instance.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(state: State, *, sessions: int | None = None) -> None:
    """Work until SIGTERM or SIGINT; then finish the messages in hand and release the rest."""
    ending = _Ending()
    with (
        delivering(state, sessions=sessions) as worker,
        suppress(StopRequested),
        ending.on_signals(),
    ):
        if state.core.config.redis_url:
            with jobs.answered_by(worker.bell.ring):
                _listen(state, ending)
        else:
            threading.Event().wait()


@contextmanager
def delivering(state: State, *, sessions: int | None = None) -> Iterator[Worker]:
    """Run a worker in a thread while the block lasts."""
    kind = "rq" if state.core.config.redis_url else "worker"
    worker = Worker(state.core, kind=kind, sessions=sessions)
    thread = threading.Thread(target=worker.run, name="smtp-admin-worker")
    with _spared():
        thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()


def _listen(state: State, ending: _Ending) -> None:
    """Take wake-ups from Redis, again and again while it is down, until a signal ends it."""
    pause = threading.Event()
    while not ending.is_asked:
        try:
            _work(state, ending)
        except redis.RedisError as error:
            logger.warning("Redis cannot be reached: %s.", redis_client.in_words(error))
        except Exception:
            logger.exception("The wake-ups could not be taken.")
        finally:
            ending.rq_worker = None
        if not ending.is_asked:
            # RQ's worker also ends by itself, on a job that it cannot read for instance.
            logger.warning(
                "Messages are still delivered, by the sweep; listening again in %d s.",
                PAUSE_SECONDS,
            )
            pause.wait(PAUSE_SECONDS)


def _work(state: State, ending: _Ending) -> None:
    config = state.core.config
    with redis_client.patient(config) as client:
        queue = make_queue(config, client)
        ending.rq_worker = WarmWorker([queue], connection=client, serializer=JSONSerializer)
        ending.rq_worker.work(logging_level="WARNING")
