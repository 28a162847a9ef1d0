"""How a connection fares, in a mark and a sentence.

Owns the words of health that list, overview and command line have in common, and the count of the
messages that wait. Must not know the clock, which is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_smtp_admin import wording
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.errors import SecretMissing, SecretUnreadable
from flask_smtp_admin.models import BreakerState, Connection, ConnectionHealth, Message, Status
from flask_smtp_admin.wording import Count

COUNT_LIMIT = 100_000


@dataclass(frozen=True)
class HealthWords:
    """A state mark (``ok``, ``warn``, ``fail``, ``held``, ``wait``, ``off``) and what to read.

    :param state: a few words, ``Refuses our login since 09:10`` for instance.
    :param waiting: ``214 messages wait``, or nothing.
    :param next: what happens next, ``Next try in 3 min``, or nothing.
    :param advice: what to change, where somebody has to.
    """

    mark: str
    state: str
    waiting: str = ""
    next: str = ""
    advice: str = ""

    @property
    def sentence(self) -> str:
        """All of it but the advice, ``Refuses our login since 09:10; 214 messages wait`` and so on."""
        first = "; ".join(part for part in (self.state, self.waiting) if part)
        return f"{first}. {self.next}." if self.next else f"{first}."


_PROBLEMS = {
    "resolve": "Its host name is not found",
    "connect": "Cannot be reached",
    "greeting": "Does not let us in",
    "ehlo": "Does not let us in",
    "tls": "Cannot be encrypted safely",
    "auth": "Refuses our login",
    "mail": "Refuses our sender",
}
"""By the stage of the last failure; of any other stage one can only say that it fails."""


def describe(
    connection: Connection,
    *,
    waiting: Count | int,
    now: datetime,
    zone: tzinfo,
    keys: KeyRing | None = None,
) -> HealthWords:
    """Say how ``connection`` fares, with ``waiting`` messages in its queue.

    :param keys: when given, it is checked that the stored password can be read.
    """
    count = Count(waiting) if isinstance(waiting, int) else waiting
    queue = _waiting(count)
    if not connection.enabled:
        return HealthWords("off", "Disabled", queue)
    secret = _secret_trouble(connection, keys)
    if secret is not None:
        return HealthWords("fail", secret[0], queue, advice=secret[1])
    health = connection.health
    if health.breaker is BreakerState.PAUSED:
        # Without a failure it is a limit of ours, which the reason names.
        state = "Paused at its server's wish" if health.failures else health.last_reason or "Paused"
        return HealthWords("held", state, queue, _goes_on(health, now))
    if health.breaker is BreakerState.OPEN or health.failures:
        return _failing(health, queue, now, zone)
    if health.last_ok_at is not None:
        return HealthWords(
            "ok", f"Works, last used {wording.relative(health.last_ok_at, now)}", queue
        )
    return HealthWords("wait", "Not used yet", queue)


def waiting_counts(session: Session, found: Iterable[Connection]) -> dict[int, Count]:
    """Return how many messages wait for each connection; counting stops at 100,000."""
    counts = {}
    for connection in found:
        some = (
            sa.select(Message.id)
            .where(Message.connection_id == connection.id, Message.status == Status.QUEUED)
            .limit(COUNT_LIMIT + 1)
            .subquery()
        )
        number = session.scalar(sa.select(sa.func.count()).select_from(some)) or 0
        counts[connection.id] = Count(min(number, COUNT_LIMIT), number > COUNT_LIMIT)
    return counts


def after_disabling(waited: Count, stay: Count) -> str:
    """Say what becomes of the messages of a connection that was disabled; nothing when none waits.

    :param waited: how many waited for it before.
    :param stay: how many still do, because it was chosen for them.
    """
    words = []
    gone = Count(waited.number - stay.number, waited.more)
    if gone.number > 0:
        words.append(
            f"{wording.counted(gone, 'waiting message')} "
            f"{wording.agreeing(gone, 'goes', 'go')} to the next connection that carries mail "
            f"from {wording.agreeing(gone, 'its', 'their')} sender."
        )
    if stay:
        words.append(
            f"{wording.counted(stay, 'message')} {wording.agreeing(stay, 'stays', 'stay')}, "
            "because this connection was chosen for "
            f"{wording.agreeing(stay, 'it', 'them')}: enable it again, or move "
            f"{wording.agreeing(stay, 'the message', 'the messages')} to another one."
        )
    return " ".join(words)


def password_unreadable(connection: Connection, keys: KeyRing) -> str:
    """Return why the stored password cannot be read, or nothing when it can or there is none."""
    try:
        connection.password(keys)
    except SecretUnreadable as error:
        return str(error)
    return ""


def stored_password(connection: Connection, keys: KeyRing) -> str:
    """Return the password that a connection logs in with.

    :raises SecretMissing: none is stored; an empty one is no password.
    :raises SecretUnreadable: the stored one does not open with today's keys.
    """
    if connection.password_token is None:
        raise SecretMissing(_MISSING)
    return connection.password(keys)


def password_trouble(connection: Connection, keys: KeyRing) -> str:
    """Return why a connection cannot log in before its server is even asked, or nothing."""
    if not connection.use_auth:
        return ""
    try:
        stored_password(connection, keys)
    except SecretUnreadable as error:
        return str(error)
    return ""


_MISSING = (
    "No password is stored for this connection. Enter the password, or switch SMTP authentication "
    "off."
)


def _failing(health: ConnectionHealth, queue: str, now: datetime, zone: tzinfo) -> HealthWords:
    problem = _PROBLEMS.get(health.last_stage or "", "Fails")
    if health.failing_since is not None:
        problem += f" since {wording.moment(health.failing_since, zone, now)}"
    mark = "fail" if health.breaker is BreakerState.OPEN else "warn"
    return HealthWords(mark, problem, queue, _next_try(health, now), health.last_advice or "")


def _secret_trouble(connection: Connection, keys: KeyRing | None) -> tuple[str, str] | None:
    if not connection.use_auth:
        return None
    if connection.password_token is None:
        return "No password is stored", "Enter the password, or switch SMTP authentication off."
    if keys is not None:
        words = password_unreadable(connection, keys)
        if words:
            return "Its stored password cannot be read", words
    return None


def _waiting(count: Count) -> str:
    if not count:
        return ""
    one = count.number == 1 and not count.more
    return f"{wording.counted(count, 'message')} {'waits' if one else 'wait'}"


def _next_try(health: ConnectionHealth, now: datetime) -> str:
    if health.retry_at is None or health.retry_at <= now:
        return "It is tried again with the next message"
    return f"Next try {wording.relative(health.retry_at, now)}"


def _goes_on(health: ConnectionHealth, now: datetime) -> str:
    if health.retry_at is None or health.retry_at <= now:
        return "It goes on with the next message"
    return f"It goes on {wording.relative(health.retry_at, now)}"
