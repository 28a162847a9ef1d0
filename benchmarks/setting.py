"""Where parts are measured: the sink, the databases, a Redis, and how much of everything.

Owns starting what is needed, when it is first needed. Must not know the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.databases import Databases
from benchmarks.scale import Scale
from benchmarks.sink import sink
from tests.servers.redis import RedisServer


class Setting:
    """What every part is given.

    :param say: tells how far it got.
    """

    def __init__(
        self, scale: Scale, databases: Databases, say: Callable[[str], None], stack: ExitStack
    ) -> None:
        self.scale = scale
        self.databases = databases
        self.say = say
        self._stack = stack
        self._port: int | None = None
        self._redis: RedisServer | None = None

    @property
    def port(self) -> int:
        """The port of the sink."""
        if self._port is None:
            self._port = self._stack.enter_context(sink())
        return self._port

    @property
    def redis_url(self) -> str:
        """The URL of a Redis; whoever uses it empties it first."""
        if self._redis is None:
            self._redis = self._stack.enter_context(RedisServer())
        return self._redis.url(0)


@contextmanager
def setting(scale: Scale, say: Callable[[str], None]) -> Iterator[Setting]:
    """Make the setting of a run, and remove it afterwards."""
    with ExitStack() as stack:
        yield Setting(scale, stack.enter_context(Databases()), say, stack)
