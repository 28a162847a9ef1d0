from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.example_app.running import Example, Visitor


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """A running example that tests share; they may send, but not end it or stop its servers."""
    with Example(tmp_path_factory.mktemp("shop") / "data") as example:
        yield example


@pytest.fixture
def own_shop(tmp_path: Path) -> Iterator[Example]:
    """A running example for this test alone."""
    with Example(tmp_path / "data") as example:
        yield example


@pytest.fixture
def visitor(shop: Example) -> Visitor:
    """The administrator, logged in to ``shop``."""
    return Visitor(shop).log_in()
