"""A Redis that is away for long, full, restarted or lied to costs the wake-ups, and no message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from flask_smtp_admin.config import Config
from flask_smtp_admin.dispatch import rq_bell
from flask_smtp_admin.dispatch.rq_bell import JOB, RQBell, make_queue, wake_key
from flask_smtp_admin.models import Message
from tests.dispatch.stage import Stage, a_stage
from tests.servers.catchall import CatchAll
from tests.servers.redis import RedisServer
from tests.waiting import wait_until

TRIES_IN_TEN_MINUTES = 10 * 60 / rq_bell.LONGEST_PAUSE


@pytest.fixture
def stage(tmp_path: Path, sqlite_url: str, own_redis: RedisServer) -> Iterator[Stage]:
    with a_stage(tmp_path / "host", sqlite_url, dispatch="rq", redis_url=own_redis.url()) as stage:
        yield stage


def wait_for_listener(server: RedisServer) -> None:
    """Wait until a worker takes wake-ups."""
    with server.client() as client:
        wait_until(lambda: client.scard("rq:workers") == 1, what="a worker that listens")


def wait_until_answered(stage: Stage, server: RedisServer) -> None:
    """Wait until no wake-up is under way, in the queue or as a key: somebody has taken it."""
    config = stage.core.config
    with server.client() as client:
        queue = make_queue(config, client)
        wait_until(
            lambda: queue.count == 0 and not client.exists(wake_key(config)),
            what="an answer to the wake-up",
        )


def fill(server: RedisServer) -> None:
    """Have Redis refuse whatever needs room, as ``maxmemory`` with ``noeviction`` does."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("a", "b")


def empty(server: RedisServer) -> None:
    """Let it have all the room it wants."""
    with server.client() as client:
        client.config_set("maxmemory", "0")


# ---------------------------------------------------------------- away


def test_a_bell_is_owed_however_long_redis_is_away(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More tries than ten minutes see; what a try does knows nothing of those before."""
    monkeypatch.setattr(rq_bell, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(rq_bell, "LONGEST_PAUSE", 0.0)
    tries: list[int] = []
    ring = RQBell._ring

    def counted(bell: RQBell, **options: bool) -> None:
        tries.append(threading.get_ident())
        ring(bell, **options)

    monkeypatch.setattr(RQBell, "_ring", counted)
    config = Config(redis_url=own_redis.url(), dispatch="rq")
    own_redis.kill()
    bell = RQBell(config)
    bell.ring()
    wait_until(lambda: len(tries) > 3 * TRIES_IN_TEN_MINUTES)
    bell.ring()

    own_redis.start()
    with own_redis.client() as client:
        queue = make_queue(config, client)
        wait_until(lambda: queue.count == 1, what="the wake-up that was owed")
    # A thread that has just ended may be followed by another one, for the second ring.
    assert len(set(tries)) <= 3, "the sender's own try, and one thread for all others"


def test_a_key_that_was_left_without_its_job_silences_no_bell(
    redis_url: str, redis_server: RedisServer
) -> None:
    config = Config(redis_url=redis_url, dispatch="rq")
    with redis.Redis.from_url(redis_url) as client:
        # Redis went away between the two, and with it the way to take the key back.
        client.set(wake_key(config), 1)
        RQBell(config)._ring_later()
        queue = make_queue(config, client)
        wait_until(lambda: queue.count == 1, what="the wake-up that was owed")


def test_a_redis_that_is_away_again_and_again_and_comes_back_empty_is_found_again(
    stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    stage.bench.connection(catchall)
    worker = stage.worker()
    wait_for_listener(own_redis)
    for outage in range(2):
        own_redis.kill()
        stage.send(2)
        stage.wait_until_sent(3 * outage + 2)  # by the sweep

        own_redis.start()
        stage.send()
        wait_until_answered(stage, own_redis)
        stage.wait_until_sent(3 * outage + 3)
    assert worker.running
    assert len(catchall.messages) == 6


# ---------------------------------------------------------------- full


def test_a_redis_that_is_full_takes_no_wake_up_and_the_sweep_delivers(
    stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    stage.bench.connection(catchall)
    worker = stage.worker()
    wait_for_listener(own_redis)
    fill(own_redis)

    stage.send(3)

    stage.wait_until_sent(3)
    empty(own_redis)
    wait_for_listener(own_redis)
    wait_until_answered(stage, own_redis)
    stage.send()
    wait_until_answered(stage, own_redis)
    stage.wait_until_sent(4)
    assert worker.running
    assert len(catchall.messages) == 4


def test_a_worker_started_while_redis_is_full_delivers_and_listens_later(
    stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    stage.bench.connection(catchall)
    fill(own_redis)
    stage.send(2)
    worker = stage.worker()
    stage.wait_until_sent(2)

    empty(own_redis)
    wait_for_listener(own_redis)
    stage.send()
    stage.wait_until_sent(3)
    wait_until_answered(stage, own_redis)
    worker.stop()
    assert "Stopped; nothing is left half done." in worker.log()


# ---------------------------------------------------------------- forged


def test_forged_jobs_send_nothing_that_is_not_due_and_nothing_twice(
    stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    """Jobs for messages, known and unknown, for functions that are none, and far too many."""
    bench = stage.bench
    bench.connection(catchall)
    stage.send(3)
    due, held, later = (row.id for row in bench.messages())
    bench.change(Message, Message.id == held, status="held", reason="A person wants to see it.")
    bench.change(Message, Message.id == later, due_at=bench.clock() + timedelta(hours=1))
    worker = stage.worker()
    with own_redis.client() as client:
        queue = Queue(stage.core.config.queue_name, connection=client, serializer=JSONSerializer)
        forge(queue, [due, held, later, 4711, -1])
        for _ in range(30):
            queue.enqueue(JOB, result_ttl=0)
        wait_until(lambda: queue.count == 0, what="the end of the forged jobs")
    stage.wait_until_sent(1)
    stage.send()
    stage.wait_until_sent(2)

    assert worker.running
    assert [row.status for row in bench.messages()] == ["sent", "held", "queued", "sent"]
    assert len(catchall.messages) == 2


def forge(queue: Queue, numbers: list[int]) -> None:
    functions = (
        "flask_smtp_admin.dispatch.jobs.drain",
        "flask_smtp_admin.dispatch.jobs._drain_once",
        "flask_smtp_admin.delivery.claim.release",
        "flask_smtp_admin.no_such_module.send",
        "os.getcwd",
        "not a name",
    )
    for function in functions:
        for number in numbers:
            arguments: Any = {"args": [number], "kwargs": {"message_id": number}}
            queue.enqueue(function, failure_ttl=5, **arguments)
