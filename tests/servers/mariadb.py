"""A private MariaDB."""

from __future__ import annotations

import contextlib
import getpass
import shutil
from collections.abc import Iterator
from itertools import count
from types import TracebackType

import pymysql

from tests.servers.process import (
    HOST,
    ServerProcess,
    find_program,
    free_port,
    private_folder,
    run,
)

HINT = "MariaDB is not installed: apt-get install mariadb-server"


class MariaDBServer:
    """A MariaDB server on loopback; a context manager. It can be stopped and started again.

    :raises ServerMissing: MariaDB is not installed.
    """

    def __init__(self) -> None:
        installer = find_program("mariadb-install-db", hint=HINT)
        server = find_program("mariadbd", "mysqld", hint=HINT)
        self._folder = private_folder("mariadb")
        self._numbers = count(1)
        self.port = free_port()
        data = self._folder / "data"
        user = getpass.getuser()
        temporary = self._folder / "tmp"
        temporary.mkdir()
        run(
            [
                installer,
                "--no-defaults",
                f"--user={user}",
                f"--datadir={data}",
                f"--tmpdir={temporary}",  # servers that start at once must not share /tmp
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )
        self._process = ServerProcess(
            [
                server,
                "--no-defaults",
                f"--user={user}",  # otherwise it refuses to run as root
                f"--datadir={data}",
                f"--tmpdir={temporary}",
                f"--socket={self._folder / 'socket'}",
                f"--pid-file={self._folder / 'pid'}",
                f"--port={self.port}",
                f"--bind-address={HOST}",
                "--innodb-flush-log-at-trx-commit=2",  # survives the server's crash; quick
                "--character-set-server=utf8mb4",
            ],
            ready=self._answers,
            log=self._folder / "log",
        )
        self.start = self._process.start
        self.stop = self._process.stop
        self.kill = self._process.kill

    def __enter__(self) -> MariaDBServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A fresh database for the time of the block: its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        try:
            yield f"mysql+pymysql://root@{HOST}:{self.port}/{name}?charset=utf8mb4"
        finally:
            self.start()  # a test may have stopped it
            self._end_sessions(name)  # a forgotten transaction's lock would hold the DROP for ever
            self._execute(f"DROP DATABASE {name}")

    def _end_sessions(self, database: str) -> None:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE db = %s", (database,)
            )
            for (session,) in cursor.fetchall():
                with contextlib.suppress(pymysql.err.OperationalError):  # it has just ended
                    cursor.execute("KILL %s", (session,))

    def _execute(self, statement: str) -> None:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(host=HOST, port=self.port, user="root", autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True
