"""Transactions of a lane that are tried again while the database is away.

Owns how often, and the wait in between, in which other lanes go on. Must not know what is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from ..bulk import Runs
from ..database import COLLISIONS, Collision, Database
from ..errors import OutboxUnavailable
from .crew import Crew
from .lease import Lease
from .overlapping import overlap

logger = logging.getLogger(__name__)

T = TypeVar("T")
C = TypeVar("C", bound=Runs)

AGAIN_AFTER, SOON = 0.5, 0.02
"""Seconds between tries while the database is away, and when another transaction was in the way."""
CLAIM_TRIES = 2
"""Nothing is lost by claiming later."""


class Patience:
    """Runs something in a transaction, and returns what it returns.

    Called as it is, it tries a few times, as does :meth:`rows`: that is for claiming.

    :param crew: whose lanes go on in between.
    """

    def __init__(self, database: Database, crew: Crew[Any, Any]) -> None:
        self.crew = crew
        self._database = database

    def __call__(self, act: Callable[[sa.Connection], T], /) -> T:
        """Run it with any statements.

        :raises OutboxUnavailable: given up.
        """
        return self._tried(self._database.write, act, _a_few_times())

    def rows(self, act: Callable[[Runs], T], /, *, single: bool = False) -> T:
        """Run it with statements of :class:`~flask_smtp_admin.bulk.Bulk` alone.

        :param single: it is one statement.
        :raises OutboxUnavailable: given up.
        """
        write = partial(self._database.write_rows, single=single)
        return self._tried(write, act, _a_few_times())

    def until_end_of(self, lease: Lease, act: Callable[[sa.Connection], T]) -> T:
        """Run it again and again until the lease ends. Nothing else is sent over this lane.

        :raises OutboxUnavailable: given up. The sweep finds a message that is in flight, and
            treats it as one whose worker died.
        """
        while True:
            try:
                # In turn with what is being written: that may have the last connection of the pool,
                # and could not go on while this waits for one.
                return self.crew.errand(lambda: self._once(self._database.write, act))
            except OutboxUnavailable as error:
                if not lease.holds():
                    raise
                self.pause(error)

    def pause(self, error: OutboxUnavailable) -> None:
        """Say that it will be tried again, and wait."""
        logger.warning(
            "The worker could not claim messages or write down an outcome, and tries again: %s",
            error,
        )
        self.crew.sleep(SOON if isinstance(error, Collision) else AGAIN_AFTER)

    def _once(self, write: Callable[[], AbstractContextManager[C]], act: Callable[[C], T]) -> T:
        with write() as connection:
            overlap(connection, self.crew)
            return act(connection)

    def _tried(
        self,
        write: Callable[[], AbstractContextManager[C]],
        act: Callable[[C], T],
        may_go_on: Callable[[OutboxUnavailable], bool],
    ) -> T:
        while True:
            try:
                return self._once(write, act)
            except OutboxUnavailable as error:
                if not may_go_on(error):
                    raise
                self.pause(error)


def _a_few_times() -> Callable[[OutboxUnavailable], bool]:
    """Return what says ``True`` until the last of the tries."""
    away, in_the_way = iter(range(CLAIM_TRIES - 1)), iter(range(COLLISIONS - 1))

    def may_go_on(error: OutboxUnavailable) -> bool:
        left = in_the_way if isinstance(error, Collision) else away
        return next(left, None) is not None

    return may_go_on
