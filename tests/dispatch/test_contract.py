"""Whoever delivers: what is committed arrives once, and the host hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dispatch.stage import Stage, a_stage
from tests.servers.catchall import CatchAll

JSON = ("--serializer", "rq.serializers.JSONSerializer")
Deliver = Callable[[Stage], None]


def woken_worker(stage: Stage) -> None:
    stage.worker()
    stage.send(5)


def worker_without_redis(stage: Stage) -> None:
    stage.worker("--sessions", "1")
    stage.send(5)


def burst(stage: Stage) -> None:
    stage.send(5)
    done = stage.run("smtp-admin", "worker", "--burst")
    assert done.returncode == 0, done.stderr
    assert "5 messages accepted by their servers." in done.stdout


def stock_worker(stage: Stage) -> None:
    stage.stock_worker(*JSON)
    stage.send(5)


def short_process(stage: Stage) -> None:
    done = stage.run("send", "5")
    assert done.returncode == 0, done.stderr


def the_call_itself(stage: Stage) -> None:
    stage.send(5)


KINDS: dict[str, tuple[str, bool, Deliver]] = {
    "flask smtp-admin worker": ("rq", True, woken_worker),
    "the same without Redis": ("none", False, worker_without_redis),
    "the same with --burst": ("none", False, burst),
    "stock rq worker": ("rq", True, stock_worker),
    "embedded": ("embedded", False, short_process),
    "inline": ("inline", False, the_call_itself),
}


@pytest.fixture(params=list(KINDS))
def delivered(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite_url: str
) -> Iterator[tuple[Stage, Deliver]]:
    dispatch, with_redis, deliver = KINDS[request.param]
    redis_url = request.getfixturevalue("redis_url") if with_redis else ""
    with a_stage(tmp_path / "host", sqlite_url, dispatch=dispatch, redis_url=redis_url) as stage:
        yield stage, deliver


def test_every_message_arrives_once_and_is_told_to_the_host(
    delivered: tuple[Stage, Deliver], catchall: CatchAll
) -> None:
    stage, deliver = delivered
    stage.bench.connection(catchall)

    deliver(stage)
    stage.wait_until_sent(5)

    assert len(catchall.messages) == 5
    assert len({caught.content for caught in catchall.messages}) == 5
    assert [attempt.status for attempt in stage.bench.attempts()] == ["SUCCESS"] * 5
    codes = [code for code, *_ in stage.signals()]
    assert codes.count("message_queued") == 5
    _wait_for_signals(stage)


def _wait_for_signals(stage: Stage) -> None:
    """The signal follows the commit, so that a reader may be there before it."""
    from tests.waiting import wait_until

    wait_until(lambda: [code for code, *_ in stage.signals()].count("message_sent") == 5)
