"""Every change of a connection: create, update, enable, disable, clone, order, delete.

Owns the rules that need the database: captions are unique, one enabled connection remains, a
changed connection is tried at once. Must not know Flask, nor how messages are delivered.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from flask_smtp_admin import routing
from flask_smtp_admin.core import Core
from flask_smtp_admin.database import Database, in_the_end
from flask_smtp_admin.errors import (
    ConfigurationError,
    ConnectionRefused,
    InvalidConnection,
    OutboxUnavailable,
    SecretUnreadable,
    UnknownConnection,
)
from flask_smtp_admin.models import (
    UNSENT,
    BreakerState,
    Connection,
    ConnectionHealth,
    Message,
    Status,
)

from .defaults import SETTINGS, from_mail_settings
from .rules import FIELDS, Checked, check

logger = logging.getLogger(__name__)

LAST_ENABLED = (
    "“{caption}” is the only enabled connection, so it can't be {done}: no mail could leave any "
    "more. Enable or add another one first."
)
NONE_ENABLED = (
    "This would be the only connection, and the only connection can't be disabled: no mail could "
    "leave. Leave it enabled."
)

T = TypeVar("T")


def create(core: Core, fields: Mapping[str, Any]) -> int:
    """Store a new connection and return its number.

    :raises InvalidConnection: a field breaks its rule; ``errors`` has the sentence of each.
    :raises ConfigurationError: no safe key to encrypt the password with is configured.
    """

    def write(session: Session) -> int:
        return _insert(core, session, check(fields, core.config, **_others(core, session))).id

    return _changing(core, write, _caption_of(fields))


def update(core: Core, connection_id: int, fields: Mapping[str, Any]) -> None:
    """Change the fields that are given; an empty password keeps the stored one.

    :raises InvalidConnection: a field breaks its rule; ``errors`` has the sentence of each.
    :raises UnknownConnection: there is no such connection.
    :raises ConfigurationError: no safe key to encrypt the password with is configured.
    """

    def write(session: Session) -> None:
        stored = _get(session, connection_id)
        found = check(fields, core.config, stored=stored, **_others(core, session))
        disabled = stored.enabled and not found.values.get("enabled", True)
        if disabled and _is_last_enabled(session, stored):
            found.errors["enabled"] = LAST_ENABLED.format(caption=stored.caption, done="disabled")
        if found.errors:
            raise InvalidConnection(found.errors)
        _apply(core, stored, found)
        if disabled:
            routing.withdraw(session.connection(), stored.id, pinned_too=False)
        reset_health(session, stored.id)

    _changing(core, write, _caption_of(fields))


def enable(core: Core, connection_id: int) -> bool:
    """Let a connection carry messages, and try it at once; tell whether that changed anything.

    :raises UnknownConnection: there is no such connection.
    """

    def write(session: Session) -> bool:
        stored = _get(session, connection_id)
        changed = not stored.enabled
        stored.enabled, stored.updated_at = True, core.now()
        reset_health(session, stored.id)
        return changed

    return _changing(core, write)


def disable(core: Core, connection_id: int) -> bool:
    """Have a connection carry nothing more; tell whether that changed anything.

    Its waiting messages go to the other connections, but for those for which it was chosen.

    :raises ConnectionRefused: it is the only enabled one.
    :raises UnknownConnection: there is no such connection.
    """

    def write(session: Session) -> bool:
        stored = _get(session, connection_id)
        if not stored.enabled:
            return False
        _refuse_last(session, stored, "disabled")
        stored.enabled, stored.updated_at = False, core.now()
        session.flush()
        routing.withdraw(session.connection(), stored.id, pinned_too=False)
        return True

    return _changing(core, write)


def objection_to_deleting(core: Core, connection_id: int) -> str:
    """Return why a connection cannot be deleted as things are; nothing when it can.

    :raises UnknownConnection: there is no such connection.
    """
    with core.database.session() as session:
        stored = _get(session, connection_id)
        last = stored.enabled and _is_last_enabled(session, stored)
        return LAST_ENABLED.format(caption=stored.caption, done="deleted") if last else ""


def delete(core: Core, connection_id: int) -> str:
    """Delete a connection and return its caption; its waiting messages go to the others.

    :raises ConnectionRefused: it is the only enabled one.
    :raises UnknownConnection: there is no such connection.
    """

    def write(session: Session) -> str:
        stored = _get(session, connection_id)
        if stored.enabled:
            _refuse_last(session, stored, "deleted")
        routing.withdraw(session.connection(), stored.id, pinned_too=True)
        # Written out, because a host's SQLite may not enforce foreign keys. What was given up can
        # come back into the queue.
        returning = sorted(UNSENT | {Status.FAILED, Status.PARTIAL})
        session.execute(
            sa.update(Message)
            .where(Message.connection_id == stored.id, Message.status.in_(returning))
            .values(connection_id=None, pinned=False)
            .execution_options(synchronize_session=False)
        )
        session.execute(
            sa.update(Connection)
            .where(Connection.fallback_id == stored.id)
            .values(fallback_id=None)
        )
        session.delete(stored)
        return stored.caption

    return _changing(core, write)


def clone(core: Core, connection_id: int) -> int:
    """Copy a connection with its password and return the copy's number; the copy is disabled.

    A password that cannot be read is not copied.

    :raises UnknownConnection: there is no such connection.
    """

    def write(session: Session) -> int:
        stored = _get(session, connection_id)
        copy = Connection(
            **{name: getattr(stored, name) for name in FIELDS},
            created_at=core.now(),
            updated_at=core.now(),
        )
        copy.caption = _free_caption(session, stored.caption)
        copy.enabled = False
        try:
            _keep_password(core, copy, stored.password(core.keys))
        except SecretUnreadable:
            logger.warning("The password of %r cannot be read and was not copied.", stored.caption)
        return _add(session, copy).id

    return _changing(core, write)


def move(core: Core, connection_id: int, places: int) -> None:
    """Move a connection in the order of use: -1 is one place up, 1 one place down.

    :raises UnknownConnection: there is no such connection.
    """

    def write(session: Session) -> None:
        rows = list(session.scalars(sa.select(Connection).order_by(*ORDER)))
        place = next((n for n, row in enumerate(rows) if row.id == connection_id), None)
        if place is None:
            raise _unknown(connection_id)
        moved = rows.pop(place)
        rows.insert(max(0, place + places), moved)
        for position, row in enumerate(rows):
            row.position = position

    _changing(core, write)


def ensure_first(
    core: Core, settings: Mapping[str, Any], *, within: sa.Connection | None = None
) -> int | None:
    """Make the first connection from the ``MAIL_*`` settings, where there is none yet.

    A password that cannot be stored safely is left out, with a warning that says what to do.

    :param within: the connection of the caller's transaction, which is to see what is made. It is
        made in a transaction of its own where the caller's sees that, otherwise in the caller's.
    :returns: the number of the connection, or ``None`` when none was made.
    :raises OutboxUnavailable: the tables are not there.
    """
    fields = from_mail_settings(settings, core.config.site_name)
    if fields is None:
        return None
    if within is None:
        return None if _has_any(core) else _make_first(core, fields)
    joined = replace(
        core,
        database=Database(lambda: within),
        ring=lambda: core.after_commit(core.ring),
    )
    if _has_any(joined):
        return None
    if within.get_isolation_level() in _SEES_OTHERS:
        try:
            return _make_first(core, fields)
        except OutboxUnavailable:
            pass  # no connection is left for it, or only the caller's transaction has the tables
    return _make_first(joined, fields)


_SEES_OTHERS = ("READ COMMITTED", "READ UNCOMMITTED", "AUTOCOMMIT")
"""Transactions that see what others commit meanwhile. SQLite has none, nor MariaDB by default."""


# ---------------------------------------------------------------- parts of the writes


def _make_first(core: Core, fields: Mapping[str, Any]) -> int | None:
    def write(session: Session) -> int | None:
        if session.scalar(sa.select(sa.func.count()).select_from(Connection)):
            return None
        found = check(fields, core.config, password_required=False)
        return _insert(core, session, found, keep_going=True).id

    try:
        return _changing(core, write, str(fields["caption"]))
    except InvalidConnection as error:
        if "caption" not in error.errors:  # otherwise another process was first
            wrong = (f"{SETTINGS.get(k, k)}: {words}" for k, words in error.errors.items())
            logger.warning("No connection was made from the MAIL_* settings. %s", " ".join(wrong))
        return None


def _has_any(core: Core) -> bool:
    """Tell whether there is a connection, without the lock that a write takes."""
    with core.database.read() as connection:
        return connection.execute(sa.select(Connection.id).limit(1)).first() is not None


ORDER = (Connection.position, Connection.id)
"""The order of use, and of every list."""


def reset_health(session: Session, connection_id: int) -> None:
    """Forget what went wrong: with other settings, or by a person's wish, it is tried at once."""
    session.execute(
        sa.update(ConnectionHealth)
        .where(ConnectionHealth.connection_id == connection_id)
        .values(breaker=BreakerState.CLOSED, failures=0, retry_at=None, failing_since=None)
        .execution_options(synchronize_session=False)
    )


@contextmanager
def _locked(core: Core) -> Iterator[Session]:
    """Give a session in a write transaction in which nobody else changes a connection.

    Without the lock two people could disable the last two connections at the same moment. Inside
    a transaction of the host there is none: it would last until the host commits.
    """
    with (
        core.database.write() as connection,
        Session(connection, join_transaction_mode="rollback_only") as session,
    ):
        if not connection.in_nested_transaction():
            connection.execute(sa.select(Connection.id).order_by(Connection.id).with_for_update())
        yield session
        session.flush()


def _changing(core: Core, write: Callable[[Session], T], caption: str = "") -> T:
    """Run a write, give waiting messages a connection, and tell whoever delivers."""

    def change() -> T:
        with _locked(core) as session:
            result = write(session)
            session.flush()
            routing.assign_waiting(session.connection())
            return result

    try:
        # A worker that asks for sessions locks the same rows the other way round.
        result = in_the_end(change)
    except IntegrityError as error:
        raise InvalidConnection(
            {"caption": f"Another connection is called “{caption}”; choose another caption."}
        ) from error
    core.ring()
    return result


def _others(core: Core, session: Session) -> dict[str, Any]:
    rows = session.execute(sa.select(Connection.id, Connection.caption)).all()
    return {
        "captions": {row.caption.casefold(): row.id for row in rows},
        "ids": frozenset(row.id for row in rows),
        "now": core.now(),
    }


def _insert(
    core: Core, session: Session, found: Checked, *, keep_going: bool = False
) -> Connection:
    """Add what was checked.

    :param keep_going: store the connection without its password where that is not safe.
    """
    if not found.errors.get("enabled") and found.values.get("enabled") is False:
        others = session.scalar(sa.select(sa.func.count()).where(Connection.enabled))
        if not others:
            found.errors["enabled"] = NONE_ENABLED
    if found.errors:
        raise InvalidConnection(found.errors)
    now = core.now()
    connection = Connection(**found.values, created_at=now, updated_at=now)
    try:
        _keep_password(core, connection, found.password)
    except ConfigurationError as error:
        if not keep_going:
            raise
        logger.warning(
            "The connection %r was made without the password of MAIL_PASSWORD. %s Then enter the "
            "password on the page of the connection.",
            connection.caption,
            error,
        )
    return _add(session, connection)


def _add(session: Session, connection: Connection) -> Connection:
    last = session.scalar(sa.select(sa.func.max(Connection.position)))
    connection.position = 0 if last is None else last + 1
    connection.health = ConnectionHealth(breaker=BreakerState.CLOSED, failures=0)
    session.add(connection)
    session.flush()
    return connection


def _keep_password(core: Core, connection: Connection, password: str | None) -> None:
    # The password is bound to the row's uid, which the table would give only on its way there.
    connection.uid = connection.uid or uuid.uuid4().hex
    connection.set_password(password, core.keys, core.now())


def _apply(core: Core, stored: Connection, found: Checked) -> None:
    for name, value in found.values.items():
        setattr(stored, name, value)
    if found.password is not None or found.forget_password:
        stored.set_password(found.password, core.keys, core.now())
    stored.updated_at = core.now()


def _get(session: Session, connection_id: int) -> Connection:
    found = session.get(Connection, connection_id)
    if found is None:
        raise _unknown(connection_id)
    return found


def _unknown(connection_id: int) -> UnknownConnection:
    return UnknownConnection(f"There is no connection with the number {connection_id}.")


def _is_last_enabled(session: Session, stored: Connection) -> bool:
    others = sa.select(sa.func.count()).where(Connection.enabled, Connection.id != stored.id)
    return not session.scalar(others)


def _refuse_last(session: Session, stored: Connection, done: str) -> None:
    if _is_last_enabled(session, stored):
        raise ConnectionRefused(LAST_ENABLED.format(caption=stored.caption, done=done))


def _free_caption(session: Session, caption: str) -> str:
    taken = {known.casefold() for known in session.scalars(sa.select(Connection.caption))}
    for number in range(1, len(taken) + 2):
        suffix = " (copy)" if number == 1 else f" (copy {number})"
        wanted = caption[: 100 - len(suffix)] + suffix
        if wanted.casefold() not in taken:
            return wanted
    raise AssertionError("One more try than there are captions always finds a free one.")


def _caption_of(fields: Mapping[str, Any]) -> str:
    return str(fields.get("caption") or "").strip()
