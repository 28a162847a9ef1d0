"""Databases to measure on: SQLite files and a PostgreSQL that waits for its disk.

Owns making them, and copies of one that was filled once. Must not know what is in them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType

import psycopg
import sqlalchemy as sa

from tests.servers.postgres import PostgresServer
from tests.servers.process import private_folder

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
KINDS = (SQLITE, POSTGRESQL)
NAMES = {SQLITE: "SQLite", POSTGRESQL: "PostgreSQL"}


@dataclass(frozen=True)
class Template:
    """A filled database that is copied and not used."""

    kind: str
    url: str


class Databases:
    """All databases of a run; a context manager that removes them at its end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._numbers = count(1)
        self._server: PostgresServer | None = None
        self._kept: dict[tuple[str, str], Template] = {}

    def __enter__(self) -> Databases:
        self._folder = private_folder("bench")
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def filled(self, kind: str, fill: Callable[[str], object], *, rows: bool = True) -> Template:
        """Make a database and have it filled; nothing may be connected to it afterwards.

        :param rows: whether there are any. PostgreSQL takes a new table for ten pages, and one that
            it has analysed empty for empty: it would look through all rows that follow for each
            foreign key, which no database of an application does for longer than a minute.
        """
        template = Template(kind, self._make(kind))
        fill(template.url)
        if kind == POSTGRESQL and rows:
            self._maintain(template.url)
        return template

    def kept(self, name: str, kind: str, fill: Callable[[str], object]) -> Template:
        """Do the same, but only once for the same name; for what takes long."""
        if (name, kind) not in self._kept:
            self._kept[name, kind] = self.filled(kind, fill)
        return self._kept[name, kind]

    @contextmanager
    def copy(self, template: Template) -> Iterator[str]:
        """A copy for the time of the block: its URL."""
        with self._removed(self._make(template.kind, template.url)) as url:
            yield url

    @contextmanager
    def fresh(self, kind: str) -> Iterator[str]:
        """An empty database for the time of the block: its URL."""
        with self._removed(self._make(kind)) as url:
            yield url

    def postgresql_version(self) -> str | None:
        """Return the version of the PostgreSQL, if one was needed."""
        if self._server is None:
            return None
        address = self._first.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address) as connection:
            version = connection.info.server_version
        return f"{version // 10_000}.{version % 10_000}"

    def _make(self, kind: str, source: str | None = None) -> str:
        name = f"bench_{next(self._numbers)}"
        if kind == SQLITE:
            path = self._folder / f"{name}.sqlite"
            if source is not None:
                _copy_file(_path(source), path)
            return f"sqlite:///{path}"
        postgres = self._postgres()
        template = "template0" if source is None else sa.make_url(source).database
        # What was written for it must not be written out while somebody is measured.
        _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template}", "CHECKPOINT")
        return postgres.set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def _removed(self, url: str) -> Iterator[str]:
        try:
            yield url
        finally:
            made = sa.make_url(url)
            if made.get_backend_name() == SQLITE:
                for end in ("", "-wal", "-shm"):
                    Path(f"{made.database}{end}").unlink(missing_ok=True)
            else:
                _execute(self._postgres(), f"DROP DATABASE {made.database} WITH (FORCE)")

    def _postgres(self) -> sa.URL:
        """The URL of the server's first database; it starts when it is first needed."""
        if self._server is None:
            self._server = self._stack.enter_context(PostgresServer(syncs=True))
            self._first = sa.make_url(self._stack.enter_context(self._server.database()))
        return self._first

    def _maintain(self, url: str) -> None:
        _execute(sa.make_url(url), "VACUUM ANALYZE", "CHECKPOINT")


def _execute(url: sa.URL, *statements: str) -> None:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _path(url: str) -> Path:
    return Path(sa.make_url(url).database or "")


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as copied:
        os.fsync(copied.fileno())
