"""A process to fork children from, and databases to copy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.crashing.forks import Forks
from tests.crashing.places import FillIn, on_postgres, on_sqlite


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with Forks(tmp_path_factory.mktemp("forks")) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def fill_in(request: pytest.FixtureRequest, tmp_path: Path) -> FillIn:
    """Fills a database once, and gives copies of it; on SQLite and PostgreSQL."""
    if request.param == "sqlite":
        return partial(on_sqlite, tmp_path)
    return partial(on_postgres, request.getfixturevalue("postgres_server"))
