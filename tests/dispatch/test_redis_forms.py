"""The doorbell over TLS, over a Unix socket, and where Sentinel watches over several servers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from flask_smtp_admin.config import Config
from flask_smtp_admin.dispatch import redis_client
from flask_smtp_admin.dispatch.rq_bell import RQBell, make_queue, wake_key
from tests.dispatch.stage import Stage, a_stage
from tests.servers.catchall import CatchAll
from tests.servers.process import ServerMissing, ServerProcess, free_port, skip_or_fail
from tests.servers.redis import RedisServer
from tests.servers.redis_forms import (
    PASSWORD,
    SENTINEL_PASSWORD,
    SERVICE,
    SocketRedis,
    TLSRedis,
    WatchedRedis,
)
from tests.waiting import wait_until

JSON = ("--serializer", "rq.serializers.JSONSerializer")


def made(setup: Callable[[], Any]) -> Any:
    try:
        return setup()
    except ServerMissing as missing:
        skip_or_fail(missing)


@pytest.fixture
def tls_redis() -> Iterator[TLSRedis]:
    with made(TLSRedis) as server:
        yield server


@pytest.fixture
def socket_redis() -> Iterator[SocketRedis]:
    with made(SocketRedis) as server:
        yield server


@pytest.fixture(scope="module")
def watched_for_all() -> Iterator[WatchedRedis]:
    with made(WatchedRedis) as setup:
        yield setup


@pytest.fixture
def watched(watched_for_all: WatchedRedis) -> WatchedRedis:
    """Servers that sentinels watch over, empty; not to be stopped."""
    watched_for_all.master.client.flushall()
    return watched_for_all


@pytest.fixture
def own_watched() -> Iterator[WatchedRedis]:
    """The same for one test alone, which may stop them."""
    with made(WatchedRedis) as setup:
        yield setup


@pytest.fixture
def watched_tls() -> Iterator[WatchedRedis]:
    with made(lambda: WatchedRedis(tls=True)) as setup:
        yield setup


@pytest.fixture
def staged(tmp_path: Path, sqlite_url: str, catchall: CatchAll) -> Any:
    """Makes stages with a connection to a server that takes everything."""

    @contextmanager
    def stage_at(url: str) -> Iterator[Stage]:
        with a_stage(tmp_path / "host", sqlite_url, dispatch="rq", redis_url=url) as stage:
            stage.bench.connection(catchall)
            yield stage

    return stage_at


def answered(client: redis.Redis) -> int:
    """How many wake-ups workers have answered, as Redis knows it: by RQ's own count."""
    workers: Any = [key for key in client.keys("rq:worker:*") if client.type(key) == b"hash"]
    return sum(int(client.hget(key, "successful_job_count") or 0) for key in workers)


def wait_until_answered(client: redis.Redis, more_than: int = 0) -> None:
    wait_until(lambda: answered(client) > more_than, what="an answer to the bell")


def assert_no_password_in(*texts: str) -> None:
    for text in texts:
        assert text
        assert PASSWORD not in text
        assert SENTINEL_PASSWORD not in text
        assert "wrong-hush" not in text


# ---------------------------------------------------------------- TLS, a socket


def test_a_worker_is_woken_over_tls(staged: Any, tls_redis: TLSRedis) -> None:
    with staged(tls_redis.url()) as stage:
        worker = stage.worker()
        stage.send()
        stage.wait_until_sent(1)
        wait_until_answered(tls_redis.client)
        assert_no_password_in(worker.log())


def test_a_worker_is_woken_over_a_unix_socket(staged: Any, socket_redis: SocketRedis) -> None:
    with staged(socket_redis.url) as stage:
        worker = stage.worker()
        stage.send()
        stage.wait_until_sent(1)
        wait_until_answered(socket_redis.client)
        assert_no_password_in(worker.log())


def complaint(caplog: pytest.LogCaptureFixture, url: str) -> str:
    """What is logged when the bell at ``url`` cannot be rung."""
    with caplog.at_level(logging.WARNING):
        RQBell(Config.from_mapping({"SMTP_ADMIN_REDIS_URL": url})).ring()
    assert_no_password_in(caplog.text)
    return caplog.text


def test_a_certificate_of_a_stranger_is_refused_and_the_log_says_what_to_do(
    staged: Any, tls_redis: TLSRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with made(TLSRedis) as other:
        url = tls_redis.url(ssl_ca_certs=other.papers.authority)
        assert "ssl_ca_certs in SMTP_ADMIN_REDIS_URL names the file" in complaint(caplog, url)

        with staged(url) as stage:
            worker = stage.worker()
            stage.send()
            stage.wait_until_sent(1)  # by the sweep
            wait_until(lambda: "signed by nobody whom we trust" in worker.log())
            assert_no_password_in(worker.log())

    assert answered(tls_redis.client) == 0
    assert tls_redis.client.dbsize() == 0


def test_a_certificate_for_another_name_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with made(lambda: TLSRedis("redis.example.org")) as server:
        assert "for another name than the address has" in complaint(caplog, server.url())
        assert server.client.dbsize() == 0


def test_a_certificate_may_be_left_unchecked_by_saying_so(
    tls_redis: TLSRedis, caplog: pytest.LogCaptureFixture
) -> None:
    url = tls_redis.url(ssl_cert_reqs="none", ssl_check_hostname="no")
    with caplog.at_level(logging.WARNING):
        RQBell(Config(redis_url=url)).ring()
    assert caplog.text == ""
    assert tls_redis.client.dbsize() > 0


def test_tls_to_a_server_without_it_says_so(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.url().replace("redis://", "rediss://")
    assert "does not answer in TLS on that port" in complaint(caplog, url)


def test_a_wrong_password_says_so_and_is_not_shown(
    tls_redis: TLSRedis, caplog: pytest.LogCaptureFixture
) -> None:
    url = tls_redis.url().replace(PASSWORD, "wrong-hush")
    assert "wrong user or password" in complaint(caplog, url)


# ---------------------------------------------------------------- Sentinel


def test_a_worker_is_woken_by_the_master_that_the_sentinels_name(
    staged: Any, watched_tls: WatchedRedis
) -> None:
    """All of it over TLS, with a password for the sentinels and another one for the servers."""
    with staged(watched_tls.url()) as stage:
        worker = stage.worker()
        stage.send()
        stage.wait_until_sent(1)
        wait_until_answered(watched_tls.master.client)
        assert_no_password_in(worker.log())


def test_the_bell_rings_again_after_a_failover_and_no_message_is_lost(
    staged: Any, own_watched: WatchedRedis
) -> None:
    new_master = own_watched.replica.client
    with staged(own_watched.url()) as stage:
        worker: ServerProcess = stage.worker()
        stage.send()
        stage.wait_until_sent(1)
        wait_until_answered(own_watched.master.client)
        wait_until(lambda: answered(new_master) > 0, what="the replica's copy")

        own_watched.master.process.kill()
        stage.send(3)
        own_watched.wait_for_failover()
        stage.wait_until_sent(4)
        # The bell owed a wake-up; the worker has come to the new master, and takes it there.
        before = answered(new_master)
        stage.send(2)
        stage.wait_until_sent(6)
        wait_until_answered(new_master, more_than=before)

        # The old master comes back, and is a replica now.
        own_watched.master.process.start()
        before = answered(new_master)
        stage.send()
        stage.wait_until_sent(7)
        wait_until_answered(new_master, more_than=before)

        assert worker.running
        assert len(stage.bench.attempts()) == 7, "none went twice"
        worker.stop()
        assert "Stopped; nothing is left half done." in worker.log(40_000), worker.log(40_000)
        assert_no_password_in(worker.log(40_000))


def test_the_stock_worker_is_told_of_the_sentinels_by_its_own_configuration(
    staged: Any, watched: WatchedRedis
) -> None:
    """As the documentation has it."""
    with staged(watched.url()) as stage:
        settings = {
            "INSTANCES": list(watched.hosts),
            "MASTER_NAME": SERVICE,
            "PASSWORD": PASSWORD,
            "SENTINEL_KWARGS": {"password": SENTINEL_PASSWORD},
        }
        (stage.folder / "rq_settings.py").write_text(f"SENTINEL = {settings!r}\n")
        stage.stock_worker(*JSON, "--path", str(stage.folder), at=("--config", "rq_settings"))

        stage.send(2)

        stage.wait_until_sent(2)
        wait_until_answered(watched.master.client)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((SERVICE, "theirs"), "it knows no such service"),
        ((SENTINEL_PASSWORD, "wrong-hush"), "wrong user or password"),
        ((f"sentinel_password={SENTINEL_PASSWORD}", ""), "wants a password"),
        ((f":{PASSWORD}@", ":wrong-hush@"), "wrong user or password"),
    ],
)
def test_what_the_sentinels_answer_is_told_without_a_password(
    watched: WatchedRedis,
    caplog: pytest.LogCaptureFixture,
    change: tuple[str, str],
    sentence: str,
) -> None:
    assert sentence in complaint(caplog, watched.url().replace(*change))


def test_sentinels_that_are_away_are_named_and_the_next_one_is_asked(
    watched: WatchedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = free_port()
    host, port = watched.hosts[0]
    alone = (
        f"redis+sentinel://:{PASSWORD}@127.0.0.1:{nobody}/{SERVICE}?sentinel_password=wrong-hush"
    )
    assert f"no sentinel names a master of '{SERVICE}' (127.0.0.1:{nobody}:" in complaint(
        caplog, alone
    )
    caplog.clear()

    url = watched.url().replace(f"{host}:{port}", f"{host}:{nobody}")
    config = Config.from_mapping({"SMTP_ADMIN_REDIS_URL": url})
    RQBell(config).ring()

    assert caplog.text == ""
    assert watched.master.client.exists(wake_key(config))
    assert make_queue(config, watched.master.client).count == 1


def test_a_request_never_waits_long_for_sentinels_nor_the_master(watched: WatchedRedis) -> None:
    with redis_client.hurried(Config(redis_url=watched.url())) as client:
        pool: Any = client.connection_pool
        settings = [pool.connection_kwargs]
        settings += [
            one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels
        ]
    for one in settings:
        assert one["socket_connect_timeout"] <= 1
        assert one["socket_timeout"] <= 3
        assert one["retry"]._retries == 0
