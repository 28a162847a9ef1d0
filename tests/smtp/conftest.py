"""Fixtures of the protocol's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.smtp.endpoints import begun


@pytest.fixture(autouse=True)
def _end_sessions() -> Iterator[None]:
    """Close what ``opened`` opened: an unclosed socket is an error."""
    yield
    while begun:
        begun.pop().abort()
