from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from example_app.folder import DataFolder, Notes
from tests.example_app.running import Example, Visitor
from tests.servers.process import free_port


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """A running example that tests share; they may send, but not end it or stop its servers."""
    with Example(tmp_path_factory.mktemp("shop") / "data") as example:
        yield example


@pytest.fixture
def own_shop(tmp_path: Path) -> Iterator[Example]:
    """A running example for this test alone.

    Its mail server may be stopped: on a port of its own, as the first one that others would try is
    taken by another test's example meanwhile.
    """
    folder = DataFolder(tmp_path / "data")
    folder.make()
    folder.write_notes(Notes(free_port()))
    with Example(folder.path) as example:
        yield example


@pytest.fixture
def visitor(shop: Example) -> Visitor:
    """The administrator, logged in to ``shop``."""
    return Visitor(shop).log_in()
