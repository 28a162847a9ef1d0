"""From a connection's row to the carrier that a lane works with.

Owns reading it, and noting a connection that cannot even be tried. Must not know lanes.
"""

from __future__ import annotations

from dataclasses import replace

from .. import connections
from ..core import Core
from ..errors import SecretUnreadable, SMTPAdminError
from ..models import Connection
from ..smtp import Endpoint, Stage
from . import breaker, facts
from .breaker import Trouble
from .record import Carrier

HURRIED_SESSION = 30.0
"""Seconds that a session of a hurried worker may last until the end of a message, and the server's last
reply after it: less than its lease, as nobody renews that."""


def find(core: Core, connection_id: int, patience: float | None = None) -> Carrier | None:
    """Return what carries the messages of a connection, ``None`` when there is nothing.

    :param patience: seconds at most to wait for a reply. Default: as the connection says.
    """
    with core.database.session() as session:
        row = session.get(Connection, connection_id)
    if row is None:
        return None
    try:
        endpoint = connections.endpoint_of(row, core)
        connections.session_for(row.driver, endpoint)  # a driver that nobody registers is found now
    except SMTPAdminError as error:
        _note_unusable(core, row, error)
        return None
    return Carrier.of(row, endpoint if patience is None else _hurried(endpoint, patience))


def _hurried(endpoint: Endpoint, patience: float) -> Endpoint:
    return replace(
        endpoint,
        connect_timeout=min(endpoint.connect_timeout, patience),
        reply_timeout=min(endpoint.reply_timeout, patience),
        # Longer than any other reply: who does not hear the server out has the message sent again.
        final_timeout=min(endpoint.final_timeout, HURRIED_SESSION),
        # Each reply may take its time, and there are many: all of them together may not.
        session_deadline=min(endpoint.session_deadline, HURRIED_SESSION, patience),
    )


def _note_unusable(core: Core, row: Connection, error: SMTPAdminError) -> None:
    """Write that a connection cannot be tried, its password being unreadable for one."""
    now = core.now()
    stage = Stage.AUTH.value if isinstance(error, SecretUnreadable) else ""
    trouble = Trouble(stage=stage, reason=str(error), opens_breaker=True)
    with core.database.write() as connection:
        opened, retry_at = breaker.note_failure(connection, row.id, trouble, now)
    if opened:
        event = connections.event_of(
            "connection_failed",
            row,
            now,
            stage=trouble.stage,
            reply=trouble.reason,
            next_attempt_at=retry_at,
        )
        facts.log(event)
        core.publish(event)
