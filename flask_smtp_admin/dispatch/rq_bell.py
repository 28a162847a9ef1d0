"""Ringing over RQ: a job on a Redis queue that says "there is work" and carries nothing.

Owns the wake-up key, the job, and what happens while Redis is down. Must not know messages.

The key collapses wake-ups: as long as one is under way no second is queued. The job deletes the
key *before* anything is claimed, so that a message committed later always gets a wake-up of its
own. The key expires, so that a lost job cannot silence the bell for long.
"""

from __future__ import annotations

import logging
import threading

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from ..config import Config

logger = logging.getLogger(__name__)

WAKE_MILLISECONDS = 30_000
JOB = "flask_smtp_admin.dispatch.jobs.drain"
JOB_SECONDS = 120
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds between tries while Redis is down: it must be told within a minute of its return."""


def connect(config: Config, *, answer_seconds: float | None = ANSWER_SECONDS) -> redis.Redis:
    """Return a client for ``SMTP_ADMIN_REDIS_URL``; nothing is sent yet.

    :param answer_seconds: how long to wait for an answer; a worker that blocks sets ``None``.
    :raises ValueError: the address is not one that redis-py understands.
    """
    assert config.redis_url is not None
    return redis.Redis.from_url(
        config.redis_url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=answer_seconds,
    )


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
        self._client = connect(config)
        self._queue = make_queue(config, self._client)
        self._lock = threading.Lock()
        self._waiting = False

    def ring(self) -> None:
        """Queue a wake-up. While Redis is down a thread keeps trying, and this returns at once."""
        if self._waiting:
            return
        try:
            self._ring()
        except redis.RedisError as error:
            logger.warning(
                "Redis cannot be reached, so no worker was woken: %s. The message is stored and "
                "leaves with the next sweep, or when Redis is back.",
                error,
            )
            self._ring_later()

    def _ring(self) -> None:
        key = wake_key(self._config)
        if not self._client.set(key, 1, nx=True, px=WAKE_MILLISECONDS):
            return
        try:
            self._queue.enqueue(JOB, result_ttl=0, failure_ttl=0, job_timeout=JOB_SECONDS)
        except redis.RedisError:
            # Without its job the key would silence the bell until it expires.
            self._client.delete(key)
            raise

    def _ring_later(self) -> None:
        with self._lock:
            if self._waiting:
                return
            self._waiting = True
        threading.Thread(target=self._keep_ringing, name="smtp-admin-bell", daemon=True).start()

    def _keep_ringing(self) -> None:
        pause = FIRST_PAUSE
        clock = threading.Event()
        while True:
            clock.wait(pause)
            # Cleared first: a message that is committed from here on rings by itself.
            self._waiting = False
            try:
                self._ring()
            except redis.RedisError:
                self._waiting = True
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                logger.info("Redis is back; the workers were woken.")
                return
