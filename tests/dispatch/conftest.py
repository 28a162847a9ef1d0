"""Stages for every kind of dispatch, and a bench without any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.bench import Bench, a_bench
from tests.dispatch.stage import Stage, a_stage


@pytest.fixture
def rq_stage(tmp_path: Path, sqlite_url: str, redis_url: str) -> Iterator[Stage]:
    with a_stage(tmp_path / "host", sqlite_url, dispatch="rq", redis_url=redis_url) as stage:
        yield stage


@pytest.fixture
def embedded_stage(tmp_path: Path, sqlite_url: str) -> Iterator[Stage]:
    """Messages are sent by ``stage.run("send", …)``: the thread belongs to that process."""
    with a_stage(tmp_path / "host", sqlite_url, dispatch="embedded") as stage:
        yield stage


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    with a_bench(sqlite_url) as made:
        yield made
