"""How a worker shows that it lives: its row, written again and again.

Owns the row. Must not know what the worker does.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..core import Core
from ..models import Worker
from ..models.worker import ALIVE_WITHIN

FORGET_AFTER = timedelta(days=1)


class Presence:
    """The row of one worker.

    :param kind: ``rq``, ``embedded``, ``inline``, ``burst`` or ``none``, for the overview.
    """

    def __init__(self, core: Core, kind: str) -> None:
        self._core = core
        self._kind = kind
        # Two workers may have the same host name and process id, in containers for instance.
        self._id = str(uuid.uuid4())
        self._hostname = socket.gethostname()
        self._started_at = core.now()
        self.swept_at: datetime | None = None
        self.name = f"{kind}:{self._hostname}:{os.getpid()}"[:120]
        """What the log calls it."""
        self.others = 0
        """Workers besides this one, when it was last written."""

    def sign_in(self, sent_count: int) -> None:
        """Write that the worker is there.

        :raises OutboxUnavailable: the database is away.
        """
        now = self._core.now()
        values: dict[str, object] = {
            "seen_at": now,
            "swept_at": self.swept_at,
            "sent_count": sent_count,
        }
        with self._core.database.write() as connection:
            known = connection.execute(
                sa.update(Worker).where(Worker.id == self._id).values(**values)
            ).rowcount
            if not known:
                connection.execute(
                    sa.insert(Worker).values(
                        id=self._id,
                        kind=self._kind,
                        hostname=self._hostname[:100],
                        pid=os.getpid(),
                        started_at=self._started_at,
                        **values,
                    )
                )
                connection.execute(sa.delete(Worker).where(Worker.seen_at < now - FORGET_AFTER))
            self.others = connection.execute(
                sa.select(sa.func.count())
                .select_from(Worker)
                .where(
                    Worker.id != self._id,
                    Worker.seen_at >= now - ALIVE_WITHIN,
                    Worker.stopped_at.is_(None),
                )
            ).scalar_one()

    def sign_off(self, sent_count: int) -> None:
        """Write that the worker has ended in order.

        :raises OutboxUnavailable: the database is away.
        """
        with self._core.database.write() as connection:
            connection.execute(
                sa.update(Worker)
                .where(Worker.id == self._id)
                .values(stopped_at=self._core.now(), sent_count=sent_count)
            )
