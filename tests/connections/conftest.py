from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_smtp_admin.core import Core
from tests.cores import Heard, a_core


@pytest.fixture
def _cored(sqlite_url: str) -> Iterator[tuple[Core, Heard]]:
    with a_core(sqlite_url) as made:
        yield made


@pytest.fixture
def core(_cored: tuple[Core, Heard]) -> Core:
    """A core on SQLite."""
    return _cored[0]


@pytest.fixture
def heard(_cored: tuple[Core, Heard]) -> Heard:
    """What ``core`` told the application."""
    return _cored[1]
