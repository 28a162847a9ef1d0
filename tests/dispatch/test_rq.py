"""Redis as a doorbell: it may be away, emptied or lied to, and no message is the worse for it."""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from rq import Callback, Queue
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from flask_smtp_admin.config import Config
from flask_smtp_admin.dispatch import jobs, redis_client, rq_bell
from flask_smtp_admin.dispatch.rq_bell import JOB, RQBell, make_queue, wake_key
from flask_smtp_admin.dispatch.rq_worker import WakeUp, WarmWorker
from flask_smtp_admin.models import Message
from flask_smtp_admin.signals import Event
from tests.dispatch.stage import Stage, a_stage, terminate
from tests.servers.catchall import CatchAll
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.scripted import Peer, ScriptedServer, Step, silence
from tests.waiting import ConditionNotMet, wait_until


@pytest.fixture
def config(redis_url: str) -> Config:
    return Config(redis_url=redis_url, dispatch="rq")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture
def own_stage(tmp_path: Path, sqlite_url: str, own_redis: RedisServer) -> Iterator[Stage]:
    """A stage whose Redis may be stopped."""
    with a_stage(tmp_path / "host", sqlite_url, dispatch="rq", redis_url=own_redis.url()) as stage:
        yield stage


# ---------------------------------------------------------------- ringing


def test_rings_collapse_until_the_wake_up_is_answered(config: Config, client: redis.Redis) -> None:
    bell = RQBell(config)
    queue = make_queue(config, client)
    for _ in range(5):
        bell.ring()

    assert queue.count == 1
    assert 0 < client.pttl(wake_key(config)) <= rq_bell.WAKE_MILLISECONDS

    client.delete(wake_key(config))
    bell.ring()
    assert queue.count == 2, "whoever commits after the key is gone rings anew"


def test_a_wake_up_carries_nothing_and_is_no_pickle(config: Config, client: redis.Redis) -> None:
    RQBell(config).ring()

    found: Any = client.lrange(f"rq:queue:{config.queue_name}", 0, -1)
    [number] = found
    stored: Any = client.hget(f"rq:job:{number.decode()}", "data")
    assert json.loads(zlib.decompress(stored)) == [JOB, None, [], {}]


def test_the_key_goes_when_the_job_could_not_be_queued(
    config: Config, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = RQBell(config)

    def fail(*args: Any, **options: Any) -> None:
        raise redis.ConnectionError("just now")

    monkeypatch.setattr(Queue, "enqueue", fail)
    with pytest.raises(redis.ConnectionError):
        bell._ring()

    assert client.get(wake_key(config)) is None


def test_ringing_a_redis_that_is_down_takes_no_time_and_one_thread(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(redis_url=own_redis.url(), dispatch="rq")
    own_redis.stop()
    started: list[object] = []
    original = RQBell._keep_ringing

    def counted(bell: RQBell) -> None:
        started.append(bell)
        original(bell)

    monkeypatch.setattr(RQBell, "_keep_ringing", counted)
    monkeypatch.setattr(rq_bell, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(rq_bell, "LONGEST_PAUSE", 0.05)
    bell = RQBell(config)

    for _ in range(50):
        bell.ring()

    assert len(started) == 1
    own_redis.start()
    with own_redis.client() as client:
        queue = make_queue(config, client)
        wait_until(lambda: queue.count == 1, what="the wake-up that was owed")
    wait_until(lambda: bell._ringer is None)
    bell.ring()
    assert len(started) == 1


def test_a_request_never_waits_long_for_redis(config: Config) -> None:
    """redis-py's own default is to try four times, with growing pauses in between."""
    with redis_client.hurried(config) as client:
        settings = client.connection_pool.connection_kwargs
    assert settings["socket_connect_timeout"] <= 1
    assert settings["socket_timeout"] <= 3
    assert settings["retry"]._retries == 0


def test_a_forked_process_does_not_rely_on_a_thread_that_it_has_not(
    own_redis: RedisServer,
) -> None:
    config = Config(redis_url=own_redis.url(), dispatch="rq")
    own_redis.stop()
    bell = RQBell(config)
    bell.ring()
    assert bell._is_ringing()
    ringer = bell._ringer
    assert ringer is not None
    bell._ringer = (os.getpid() + 1, ringer[1])  # as a child process sees it

    assert not bell._is_ringing()


# ---------------------------------------------------------------- Redis away


def test_a_send_succeeds_while_redis_is_down_and_the_sweep_delivers(
    own_stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    own_stage.bench.connection(catchall)
    own_stage.worker()
    own_redis.kill()

    own_stage.send(3)
    assert len(own_stage.bench.messages()) == 3

    own_stage.wait_until_sent(3)


def test_a_worker_started_while_redis_is_down_delivers_and_listens_later(
    own_stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    own_stage.bench.connection(catchall)
    own_redis.kill()
    worker = own_stage.worker()
    own_stage.send()
    own_stage.wait_until_sent(1)

    own_redis.start()
    with own_redis.client() as client:
        wait_until(lambda: client.scard("rq:workers") == 1, what="the worker's return to Redis")

    worker.stop()
    assert "Stopped; nothing is left half done." in worker.log()


@pytest.mark.parametrize("redis_is", ["up", "down"])
def test_a_worker_ends_in_order_when_it_is_asked(
    own_stage: Stage, own_redis: RedisServer, redis_is: str
) -> None:
    worker = own_stage.worker()
    with own_redis.client() as client:
        wait_until(lambda: client.scard("rq:workers") == 1)
    if redis_is == "down":
        own_redis.kill()

    terminate(worker)
    try:
        wait_until(lambda: not worker.running, what="the worker's end")
    except ConditionNotMet as hang:
        raise ConditionNotMet(f"{hang}; it said:\n{worker.log()}") from None

    assert "Stopped; nothing is left half done." in worker.log()
    assert own_stage.workers() == set()


def test_an_end_that_the_redis_client_swallowed_still_counts(
    config: Config, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = warm(make_queue(config, client), client)

    def lost(*args: Any, **options: Any) -> None:
        with suppress(StopRequested):
            worker.end_soon()
        raise redis.ConnectionError("Redis went away at the same moment")

    monkeypatch.setattr(Queue, "dequeue_any", lost)
    assert worker.work(logging_level="CRITICAL") is False
    assert client.scard("rq:workers") == 0, "it signed off"


def test_a_redis_that_was_emptied_loses_nothing(
    own_stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    own_stage.bench.connection(catchall)
    own_stage.send(3)
    with own_redis.client() as client:
        client.flushall()

    own_stage.worker()

    own_stage.wait_until_sent(3)
    with own_redis.client() as client:
        client.flushall()
    own_stage.send(1)
    own_stage.wait_until_sent(4)


# ---------------------------------------------------------------- what is in the queue


def warm(queue: Queue, client: redis.Redis) -> WarmWorker:
    return WarmWorker([queue], connection=client, serializer=JSONSerializer)


@pytest.fixture
def answered(rq_stage: Stage) -> Iterator[list[int]]:
    """Counts how often the job rang a worker of this process."""
    rung: list[int] = []
    with rq_stage.app.app_context(), jobs.answered_by(lambda: rung.append(1)):
        yield rung


def test_the_job_rings_the_worker_of_its_process(
    rq_stage: Stage, client: redis.Redis, answered: list[int]
) -> None:
    rq_stage.send()
    config = rq_stage.core.config
    assert client.get(wake_key(config)) is not None

    warm(make_queue(config, client), client).work(burst=True, logging_level="ERROR")

    assert answered == [1]
    assert client.get(wake_key(config)) is None
    assert list(client.scan_iter("rq:job:*")) == [], "nothing is kept"


@pytest.mark.parametrize("is_stock", [False, True], ids=["warm", "stock"])
def test_a_job_allows_the_next_ring_before_it_looks_for_messages(
    rq_stage: Stage, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_stock: bool
) -> None:
    """Whoever commits after the look would otherwise ring in vain."""
    rq_stage.send()
    key = wake_key(rq_stage.core.config)
    assert client.get(key) is not None
    found: list[object] = []

    def look(*_: object) -> None:
        found.append(client.get(key))

    monkeypatch.setattr(jobs, "_warm", [] if is_stock else [look])
    monkeypatch.setattr(jobs, "_drain_once", look)
    with rq_stage.app.app_context():
        jobs.drain()
    assert found == [None]


@pytest.mark.parametrize("is_due", ["before the sweep", "after it"])
def test_a_job_that_may_be_killed_has_left_a_wake_up(
    rq_stage: Stage, client: redis.Redis, catchall: CatchAll, is_due: str
) -> None:
    """While its sweep tells of expired messages, and while it sends what only that made due."""
    bench = rq_stage.bench
    queue = make_queue(rq_stage.core.config, client)
    if is_due == "after it":
        bench.send()  # no connection carries it yet
    bench.connection(catchall)
    if is_due == "before the sweep":
        bench.send()
        expired = bench.send()
        bench.change(Message, Message.id == expired, expires_at=bench.clock())
    client.delete(queue.key)
    left: dict[str, int] = {}

    def note(event: Event) -> None:
        left[event.code] = queue.count

    state: Any = SimpleNamespace(core=replace(rq_stage.core, publish=note))
    jobs._drain_once(state, client)
    assert left["message_sent"] == 1
    if is_due == "before the sweep":
        assert left["final_delivery_failed"] == 1


def test_a_forged_job_runs_nothing(
    rq_stage: Stage, client: redis.Redis, answered: list[int], tmp_path: Path
) -> None:
    queue = make_queue(rq_stage.core.config, client)
    harm = tmp_path / "harm"
    queue.enqueue("os.mkdir", str(harm), failure_ttl=5)
    queue.enqueue("os.mkdir", str(harm), on_failure=Callback("shutil.rmtree"), failure_ttl=5)
    pickled = Queue(queue.name, connection=client)
    pickled.enqueue("os.mkdir", str(harm), failure_ttl=5)
    rq_stage.send()

    warm(queue, client).work(burst=True, logging_level="CRITICAL")

    assert not harm.exists()
    assert answered == [1], "the wake-up behind them was still taken"


def test_a_forged_job_cannot_name_a_callback_nor_a_web_address(client: redis.Redis) -> None:
    job = Job.create(
        JOB,
        connection=client,
        serializer=JSONSerializer,
        on_success=Callback("os.getcwd"),
        on_failure=Callback("os.getcwd"),
        on_stopped=Callback("os.getcwd"),
    )
    job.save()
    ours = WakeUp.fetch(job.id, connection=client, serializer=JSONSerializer)

    assert ours.func is jobs.drain
    assert (ours.success_callback, ours.failure_callback, ours.stopped_callback) == (None,) * 3
    ours.send_webhooks("finished")
    job.delete()


def test_a_worker_survives_what_it_cannot_read(
    own_stage: Stage, own_redis: RedisServer, catchall: CatchAll
) -> None:
    own_stage.bench.connection(catchall)
    worker = own_stage.worker()
    with own_redis.client() as client:
        wait_until(lambda: client.scard("rq:workers") == 1)
        key = f"rq:queue:{own_stage.core.config.queue_name}"
        client.hset("rq:job:broken", mapping={"data": b"\xff", "timeout": b"x", "created_at": "?"})
        client.rpush(key, "broken", "never-there")
        wait_until(lambda: client.llen(key) == 0)
    own_stage.send(2)

    own_stage.wait_until_sent(2)
    assert worker.running
    assert "Traceback" not in worker.log() or "listening again" in worker.log()


def test_without_the_json_serializer_the_stock_worker_runs_nothing_and_nothing_is_lost(
    rq_stage: Stage, catchall: CatchAll
) -> None:
    """Why the flag is in the documentation."""
    rq_stage.bench.connection(catchall)
    stock = rq_stage.stock_worker()
    rq_stage.send()
    wait_until(lambda: "DeserializationError" in stock.log(20_000))
    assert rq_stage.bench.statuses() == ["queued"]
    stock.stop()

    rq_stage.worker()

    rq_stage.wait_until_sent(1)


def test_the_stock_worker_has_the_next_retry_scheduled(
    rq_stage: Stage, client: redis.Redis, catchall: CatchAll
) -> None:
    rq_stage.bench.connection(catchall)
    catchall.answer_content("451 4.3.0 later")
    rq_stage.stock_worker("--serializer", "rq.serializers.JSONSerializer")
    rq_stage.send()
    key = f"rq:scheduled:{rq_stage.core.config.queue_name}"

    wait_until(lambda: client.zcard(key) == 1, what="the retry")

    [message] = rq_stage.bench.messages()
    assert (message.status, message.attempts_count) == ("queued", 1)
    scheduled: Any = client.zrange(key, 0, -1, withscores=True)
    [(_, due_at)] = scheduled
    assert due_at >= int(message.due_at.timestamp())


def test_the_next_stock_worker_delivers_what_a_killed_one_had_in_hand(
    rq_stage: Stage, client: redis.Redis
) -> None:
    """Nobody rings meanwhile, and RQ's scheduler is gone with the worker."""
    json_only = ("--serializer", "rq.serializers.JSONSerializer")
    with ScriptedServer() as server:
        reached = threading.Event()

        def hang(peer: Peer) -> None:
            reached.set()
            silence(peer)

        server.on(Step.DOT, hang)
        rq_stage.bench.connection(server, max_sessions=1)
        first = rq_stage.stock_worker(*json_only)
        rq_stage.send(3)
        wait_until(reached.is_set, what="a message in flight")
        first.kill()

        rq_stage.stock_worker(*json_only)

        rq_stage.wait_until_sent(3)
        queue = f"rq:queue:{rq_stage.core.config.queue_name}"
        wait_until(lambda: client.llen(queue) == 0, what="the end of the wake-ups")


def test_an_odd_port_is_no_reason_to_fail(sqlite_url: str, tmp_path: Path) -> None:
    """Nobody has ever listened there: the send still succeeds."""
    with a_stage(
        tmp_path / "host",
        sqlite_url,
        dispatch="rq",
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
    ) as stage:
        stage.send()
        assert stage.bench.statuses() == ["queued"]
