"""Ringing over RQ: a job on a Redis queue that says "there is work" and carries nothing.

Owns the wake-up key, the job, and what happens while Redis is down. Must not know messages.

The key collapses wake-ups: as long as one is under way no second is queued. The job deletes the
key *before* anything is claimed, so that a message committed later always gets a wake-up of its
own. The key expires, so that a lost job cannot silence the bell for long.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from ..config import Config
from . import redis_client

logger = logging.getLogger(__name__)

WAKE_MILLISECONDS = 30_000
JOB = "flask_smtp_admin.dispatch.jobs.drain"
JOB_SECONDS = 900
"""Longer than a server may take over the message in hand when a job's own time is over."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds between tries while Redis is down: it must be told within a minute of its return."""


def make_queue(config: Config, client: redis.Redis) -> Queue:
    """Return our RQ queue, which takes JSON only: a pickle from Redis would be code execution."""
    return Queue(config.queue_name, connection=client, serializer=JSONSerializer)


def wake_key(config: Config) -> str:
    """Return the name of the key that stands for a wake-up under way."""
    return f"{config.queue_name}:wake"


class RQBell:
    """Wakes the workers through Redis."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client = redis_client.hurried(config)
        self._queue = make_queue(config, self._client)
        self._lock_of = (os.getpid(), threading.Lock())
        self._ringer: tuple[int, threading.Thread] | None = None
        self._rung_meanwhile = False

    def ring(self) -> None:
        """Queue a wake-up. While Redis is down a thread keeps trying, and this returns at once."""
        if self._left_to_thread():
            return
        try:
            self._ring()
        except redis.RedisError as error:
            logger.warning(
                "Redis cannot be reached, so no worker was woken: %s. The message is stored and "
                "leaves with the next sweep, or when Redis is back.",
                redis_client.in_words(error),
            )
            self._ring_later()

    def _ring(self, *, anew: bool = False) -> None:
        """Queue a wake-up, unless one is queued.

        :param anew: whatever says that there is one: it may be left from a ring that could queue none.
        """
        key = wake_key(self._config)
        if anew:
            self._client.delete(key)
        if not self._client.set(key, 1, nx=True, px=WAKE_MILLISECONDS):
            return
        try:
            self._queue.enqueue(JOB, result_ttl=0, failure_ttl=0, job_timeout=JOB_SECONDS)
        except redis.RedisError:
            # Without its job the key would silence the bell until it expires.
            with suppress(redis.RedisError):
                self._client.delete(key)
            raise

    def _left_to_thread(self) -> bool:
        with self._lock():
            self._rung_meanwhile = True
            return self._is_ringing()

    def _lock(self) -> threading.Lock:
        """Return the lock of this very process: a fork copies one that a thread has, but no thread."""
        if self._lock_of[0] != os.getpid():
            self._lock_of = (os.getpid(), threading.Lock())
        return self._lock_of[1]

    def _is_ringing(self) -> bool:
        """Tell whether a thread of this very process keeps trying; a fork does not copy it."""
        return self._ringer is not None and self._ringer[0] == os.getpid()

    def _ring_later(self) -> None:
        with self._lock():
            if self._is_ringing():
                return
            thread = threading.Thread(
                target=self._keep_ringing, name="smtp-admin-bell", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                return  # the interpreter is ending: the sweep of a worker finds the message
            self._ringer = (os.getpid(), thread)

    def _keep_ringing(self) -> None:
        pause = FIRST_PAUSE
        clock = threading.Event()
        while True:
            clock.wait(pause)
            with self._lock():
                self._rung_meanwhile = False
            try:
                self._ring(anew=True)
            except Exception as error:
                # Whatever it is, the bell must not fall silent for the rest of the process.
                if not isinstance(error, redis.RedisError):
                    logger.exception("The workers could not be woken; trying again.")
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            with self._lock():
                # A message that was committed while we rang may have come too late for it.
                if not self._rung_meanwhile:
                    self._ringer = None
                    logger.info("Redis is back; the workers were woken.")
                    return
            pause = FIRST_PAUSE
