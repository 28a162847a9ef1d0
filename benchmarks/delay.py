"""A TCP proxy that holds back everything for some milliseconds, each way, and limits nothing else.

Run as a script: ``python delay.py PORT TARGET_PORT MILLISECONDS``. Must not know SMTP.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

HOST = "127.0.0.1"


class Way:
    """One direction: what comes in goes out later, in the same order."""

    def __init__(self, target: asyncio.Transport, seconds: float) -> None:
        self._target = target
        self._seconds = seconds
        self._held: deque[bytes] = deque()

    def carry(self, data: bytes) -> None:
        """Take data; nothing means that no more will come."""
        self._held.append(data)
        asyncio.get_running_loop().call_later(self._seconds, self._let_go)

    def _let_go(self) -> None:
        data = self._held.popleft()
        if self._target.is_closing():
            return
        if data:
            self._target.write(data)
        else:
            self._target.close()


class End(asyncio.Protocol):
    """One end of a connection; what it reads goes its way once there is one."""

    def __init__(self) -> None:
        self._way: Way | None = None
        self._early: list[bytes] = []

    def leads(self, way: Way) -> None:
        """Say where it goes, and send what has come already."""
        self._way = way
        for data in self._early:
            way.carry(data)

    def data_received(self, data: bytes) -> None:
        """Carry it."""
        self._carry(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Carry the end."""
        self._carry(b"")

    def _carry(self, data: bytes) -> None:
        if self._way is None:
            self._early.append(data)
        else:
            self._way.carry(data)


class Near(End):
    """The end of the client, which opens the far one."""

    def __init__(self, target: int, seconds: float) -> None:
        super().__init__()
        self._target = target
        self._seconds = seconds
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the connection to the server."""
        assert isinstance(transport, asyncio.Transport)
        self._opening = asyncio.get_running_loop().create_task(self._open(transport))

    async def _open(self, near: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        far, end = await loop.create_connection(End, HOST, self._target)
        end.leads(Way(near, self._seconds))
        self.leads(Way(far, self._seconds))


async def serve(port: int, target: int, seconds: float) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Near(target, seconds), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
