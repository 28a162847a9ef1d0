"""Redis as it is run where more than one machine is concerned: with TLS, on a Unix socket, and as a
master with a replica that three sentinels watch over.

Each wants a password, and no two the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
import trustme

from tests.servers.process import HOST, ServerProcess, find_program, free_port, private_folder
from tests.servers.redis import HINT
from tests.waiting import wait_until

PASSWORD = "data-hush"
SENTINEL_PASSWORD = "sentinel-hush"
SERVICE = "mymaster"
SENTINELS = 3
QUORUM = 2


class Papers:
    """A private authority, and a certificate of it for a server on loopback."""

    def __init__(self, folder: Path, *names: str) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert(*(names or (HOST, "localhost")))
        self.authority = folder / "ca.pem"
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        authority.cert_pem.write_to_path(self.authority)
        issued.cert_chain_pems[0].write_to_path(self.certificate)
        issued.private_key_pem.write_to_path(self.key)

    @property
    def settings(self) -> dict[str, Any]:
        """The server's."""
        return {
            "tls-cert-file": self.certificate,
            "tls-key-file": self.key,
            "tls-ca-cert-file": self.authority,
            "tls-auth-clients": "no",
            "tls-replication": "yes",
        }


class _Node:
    """One process with a configuration file, which a sentinel rewrites."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], client: redis.Redis, *arguments: str
    ) -> None:
        folder.mkdir()
        configuration = folder / "redis.conf"
        lines = [
            f"{key} {value}" for key, value in {"bind": HOST, "dir": folder, **settings}.items()
        ]
        configuration.write_text("\n".join([*lines, ""]))
        self.client = client
        program = find_program("redis-server", "valkey-server", hint=HINT)
        self.process = ServerProcess(
            [program, str(configuration), *arguments], ready=self._answers, log=folder / "log"
        )

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


class _Setup:
    """What the setups share: a folder, processes, and their end; a context manager."""

    def __init__(self) -> None:
        self.folder = private_folder("redis")
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _started(
        self, name: str, settings: dict[str, Any], client: redis.Redis, *arguments: str
    ) -> _Node:
        node = _Node(self.folder / name, settings, client, *arguments)
        self._stack.callback(client.close)
        self._stack.callback(node.process.kill)
        node.process.start()
        return node


class TLSRedis(_Setup):
    """A Redis that speaks TLS alone.

    :param names: what its certificate is for. Default: where it is.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.papers = Papers(self.folder, *names)
        self.port = free_port()
        settings = {
            "port": 0,
            "tls-port": self.port,
            "requirepass": PASSWORD,
            "save": '""',
            **self.papers.settings,
        }
        client = redis.Redis(HOST, self.port, password=PASSWORD, ssl=True, ssl_cert_reqs="none")
        self.client = self._started("server", settings, client).client

    def url(self, **options: object) -> str:
        """Its address, with the authority's file unless ``options`` say otherwise."""
        given = {"ssl_ca_certs": self.papers.authority, **options}
        query = "&".join(f"{key}={value}" for key, value in given.items())
        return f"rediss://:{PASSWORD}@{HOST}:{self.port}/0?{query}"


class SocketRedis(_Setup):
    """A Redis on a Unix socket alone."""

    def __init__(self) -> None:
        super().__init__()
        self.path = self.folder / "socket"
        settings = {"port": 0, "unixsocket": self.path, "requirepass": PASSWORD, "save": '""'}
        client = redis.Redis(unix_socket_path=str(self.path), password=PASSWORD, db=2)
        self.client = self._started("server", settings, client).client

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://:{PASSWORD}@{self.path}?db=2"


class WatchedRedis(_Setup):
    """A master with a replica, and three sentinels of which two must agree that it is down.

    :param tls: whether all of them speak TLS.
    """

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__()
        self.papers = Papers(self.folder) if tls else None
        self._tls: dict[str, Any] = {"ssl": True, "ssl_cert_reqs": "none"} if tls else {}
        self.master = self._server("master")
        self.replica = self._server("replica", of=self.master)
        wait_until(self._is_replicated, what="the replica")
        self._sentinels = [self._sentinel(number) for number in range(SENTINELS)]
        wait_until(self._is_complete, what="sentinels that know each other")

    def _server(self, name: str, of: _Node | None = None) -> _Node:
        port = free_port()
        settings = {
            **self._listening(port),
            "requirepass": PASSWORD,
            "masterauth": PASSWORD,
            "save": '""',
            "repl-diskless-sync-delay": 0,
        }
        if of is not None:
            settings["replicaof"] = f"{HOST} {_port(of)}"
        client = redis.Redis(HOST, port, password=PASSWORD, **self._tls)
        return self._started(name, settings, client)

    def _sentinel(self, number: int) -> _Node:
        port = free_port()
        settings = {
            **self._listening(port),
            "requirepass": SENTINEL_PASSWORD,
            "sentinel sentinel-pass": SENTINEL_PASSWORD,
            "sentinel monitor": f"{SERVICE} {HOST} {_port(self.master)} {QUORUM}",
            "sentinel auth-pass": f"{SERVICE} {PASSWORD}",
            "sentinel down-after-milliseconds": f"{SERVICE} 1000",
            "sentinel failover-timeout": f"{SERVICE} 5000",
        }
        client = redis.Redis(HOST, port, password=SENTINEL_PASSWORD, **self._tls)
        return self._started(f"sentinel{number}", settings, client, "--sentinel")

    def _listening(self, port: int) -> dict[str, Any]:
        if self.papers is None:
            return {"port": port}
        return {"port": 0, "tls-port": port, **self.papers.settings}

    def _is_replicated(self) -> bool:
        state: Any = self.replica.client.info("replication")
        return bool(state["master_link_status"] == "up")

    def _is_complete(self) -> bool:
        for node in self._sentinels:
            state: Any = node.client.sentinel_master(SERVICE)
            if (state["num-other-sentinels"], state["num-slaves"]) != (SENTINELS - 1, 1):
                return False
        return True

    @property
    def hosts(self) -> Sequence[tuple[str, int]]:
        """Where the sentinels are."""
        return [(HOST, _port(node)) for node in self._sentinels]

    def url(self, **options: object) -> str:
        """Its address in our form; ``options`` replace the usual ones."""
        given: dict[str, object] = {"sentinel_password": SENTINEL_PASSWORD}
        if self.papers is not None:
            given["ssl_ca_certs"] = self.papers.authority
        scheme = "redis" if self.papers is None else "rediss"
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        query = "&".join(f"{key}={value}" for key, value in {**given, **options}.items())
        return f"{scheme}+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0?{query}"

    def wait_for_failover(self) -> None:
        """Return when the replica is the master for everybody."""
        wait_until(lambda: self._names(_port(self.replica)), what="the failover")

    def _names(self, port: int) -> bool:
        found: list[Any] = [node.client.sentinel_master(SERVICE) for node in self._sentinels]
        return {state["port"] for state in found} == {port} and self._takes_writes()

    def _takes_writes(self) -> bool:
        state: Any = self.replica.client.info("replication")
        return bool(state["role"] == "master")


def _port(node: _Node) -> int:
    port: int = node.client.connection_pool.connection_kwargs["port"]
    return port
