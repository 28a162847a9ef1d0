"""Databases that many copies are made of, quickly: the same messages for each crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from pathlib import Path

from flask_smtp_admin import own_database
from tests.delivery.bench import Bench, a_bench
from tests.servers.postgres import PostgresServer


class Copies:
    """Makes copies of a database that was filled once."""

    def __init__(self, copy: Callable[[], AbstractContextManager[str]]) -> None:
        self.one = copy
        """Gives the URL of a copy for the time of a block."""


FillIn = Callable[[Callable[[Bench], None]], AbstractContextManager[Copies]]


@contextmanager
def on_sqlite(folder: Path, fill: Callable[[Bench], None]) -> Iterator[Copies]:
    """Fill a file, and give copies of it."""
    original = folder / "original.sqlite"
    _fill(f"sqlite:///{original}", fill)
    numbers = count(1)

    @contextmanager
    def copy() -> Iterator[str]:
        path = folder / f"copy{next(numbers)}.sqlite"
        shutil.copy(original, path)
        yield f"sqlite:///{path}"
        for file in folder.glob(f"{path.name}*"):
            file.unlink()

    yield Copies(copy)


@contextmanager
def on_postgres(server: PostgresServer, fill: Callable[[Bench], None]) -> Iterator[Copies]:
    """Fill a database, and give copies of it."""
    with server.database() as original:
        _fill(original, fill)
        yield Copies(lambda: server.database(like=original))


@contextmanager
def on_one(url: str, fill: Callable[[Bench], None]) -> Iterator[Copies]:
    """Fill an empty database, which is itself the only copy."""
    _fill(url, fill)
    yield Copies(lambda: nullcontext(url))


def _fill(url: str, fill: Callable[[Bench], None]) -> None:
    with a_bench(url, empty=False) as bench:
        own_database.prepare(bench.engine)
        fill(bench)
