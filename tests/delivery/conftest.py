"""Benches: on SQLite, or on each of the three databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.delivery.bench import Bench, a_bench
from tests.servers.scripted import ScriptedServer


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    with a_bench(sqlite_url) as made:
        yield made


@pytest.fixture
def each_bench(database_url: str) -> Iterator[Bench]:
    """The same test on SQLite, PostgreSQL and MariaDB."""
    with a_bench(database_url) as made:
        yield made


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server
