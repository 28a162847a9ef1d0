"""The host's Flask-SQLAlchemy: sharing its database and, when it has writes, its transaction.

Owns the answer to "does the caller's session hold uncommitted writes?", what follows its commit,
and handing our tables to its metadata. Must not know what is written to the outbox.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from .direct import shares_one_connection
from .models import Message
from .models.base import copy_tables

_LINKS = "smtp_admin_links"
_PENDING = "smtp_admin_pending"
_COMMITTED = "smtp_admin_committed"
_WRITES = "smtp_admin_writes"

_READING = frozenset(
    {"SELECT", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "PRAGMA", "FETCH"}
    | {"SET", "RESET", "USE", "LOCK", "DECLARE", "CLOSE", "LISTEN", "UNLISTEN"}
    | {"BEGIN", "START", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "END"}
)
"""What a statement that changes no data begins with."""
_LEAD = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/|\()*(\w*)", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`")
_CHANGING = re.compile(r"(?<!FOR )(?<!FOR NO KEY )\b(INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)

_watched: weakref.WeakSet[Any] = weakref.WeakSet()
"""The session factories that are followed. SQLAlchemy's own ``event.contains`` goes by the address
of an object, which a second factory may get once the first is gone."""


def attach_tables(db: SQLAlchemy, bind_key: str | None) -> sa.Table:
    """Copy our tables into the host's metadata, and return one that leads to their engine.

    From then on ``db.create_all()`` creates them and ``flask db migrate`` knows them.
    """
    if bind_key not in db.metadatas:
        db.metadatas[bind_key] = sa.MetaData(info={"bind_key": bind_key})
    return copy_tables(db.metadatas[bind_key])[Message.__tablename__]


def watch(db: SQLAlchemy) -> None:
    """Begin to follow the host's sessions. Doing it again changes nothing."""
    target: Any = db.session
    factory = target.session_factory if isinstance(target, scoped_session) else target
    if factory in _watched:
        return
    _watched.add(factory)
    event.listen(target, "after_begin", _on_begin)
    event.listen(target, "after_commit", _on_commit)
    event.listen(target, "after_transaction_end", _on_end)


def session_of(db: SQLAlchemy) -> Session:
    """Return the session that the caller uses; a test of the host may have put its own there."""
    given: Any = db.session
    session: Session = given() if isinstance(given, scoped_session) else given
    return session


def holds_writes(session: Session) -> bool:
    """Tell whether the session has changes that neither commit nor rollback has settled.

    Objects waiting for a flush count, and statements that wrote, whoever sent them over one of the
    session's connections. Touched objects without a change do not count: nothing would commit.
    """
    if session.new or session.deleted or any(map(session.is_modified, session.dirty)):
        return True
    links: dict[int, sa.Connection] = session.info.get(_LINKS, {})
    return any(any(link.info.get(_WRITES, ())) for link in links.values() if not link.closed)


def let_go_of_lock(session: Session) -> None:
    """On SQLite, end a transaction that holds nothing but a lock, so that others may write.

    Reading can leave a lock, and so do writes that were rolled back to a savepoint. The driver's
    transaction is ended, not the session's: its objects stay as they are. Inside a savepoint
    nothing can be done, since the savepoint would go with the transaction.
    """
    if session.in_nested_transaction():
        return
    links: dict[int, sa.Connection] = session.info.get(_LINKS, {})
    for link in links.values():
        if link.dialect.name != "sqlite" or link.closed or shares_one_connection(link.engine):
            continue
        driver: Any = link.connection.dbapi_connection
        if driver.in_transaction:
            driver.rollback()
            if driver.isolation_level is None and not driver.in_transaction:
                # The host begins its transactions itself, and relies on being in one.
                driver.execute("BEGIN")


@dataclass
class _Pending:
    transaction: SessionTransaction | None
    act: Callable[[], None]


def after_commit(session: Session, act: Callable[[], None]) -> None:
    """Run ``act`` after the session's transaction has committed, never if it rolls back.

    A savepoint counts: what was done inside one that rolls back is dropped with it.
    """
    within = session.get_nested_transaction() or session.get_transaction()
    session.info.setdefault(_PENDING, []).append(_Pending(within, act))


def awaits_commit(session: Session) -> bool:
    """Tell whether anything of :func:`after_commit` waits for the session's transaction."""
    return bool(session.info.get(_PENDING))


# --- the host's session -------------------------------------------------------------------------


def _on_begin(session: Session, transaction: SessionTransaction, link: sa.Connection) -> None:
    session.info.setdefault(_LINKS, {})[id(link)] = link
    _watch_engine(link.engine)
    if transaction.parent is None:
        # What an outer transaction wrote, that of a test for instance, is not this session's.
        link.info[_WRITES] = [False]


def _on_commit(session: Session) -> None:
    nested = session.get_nested_transaction()
    if nested is None:
        session.info[_COMMITTED] = session.info.pop(_PENDING, [])
        return
    # A savepoint is released: what was done in it now shares the fate of what surrounds it.
    for one in session.info.get(_PENDING, ()):
        if one.transaction is nested:
            one.transaction = nested.parent


def _on_end(session: Session, transaction: SessionTransaction) -> None:
    pending: list[_Pending] = session.info.get(_PENDING, [])
    if transaction.parent is not None:
        session.info[_PENDING] = [one for one in pending if one.transaction is not transaction]
        return
    session.info.pop(_LINKS, None)
    session.info.pop(_PENDING, None)
    # The session can be used again from here on, which a receiver of a signal may want to do.
    for one in session.info.pop(_COMMITTED, ()):
        one.act()


# --- the connections of its engine: has anything been written since the last commit? -------------
#
# A list of booleans is kept with the connection, one a savepoint, so that writes that were rolled
# back to a savepoint are forgotten: a message sent afterwards must not wait for a commit that the
# host has no reason to make.


def _watch_engine(engine: sa.Engine) -> None:
    if event.contains(engine, "after_cursor_execute", _after_execute):
        return
    event.listen(engine, "after_cursor_execute", _after_execute)
    event.listen(engine, "savepoint", _on_savepoint)
    event.listen(engine, "rollback_savepoint", _on_savepoint_rollback)
    event.listen(engine, "release_savepoint", _on_savepoint_release)
    event.listen(engine, "commit", _forget)
    event.listen(engine, "rollback", _forget)


def _levels(link: sa.Connection) -> list[bool]:
    levels: list[bool] = link.info.setdefault(_WRITES, [False])
    return levels


def _after_execute(
    link: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    if changes_data(statement):
        _levels(link)[-1] = True


def changes_data(statement: str) -> bool:
    """Tell whether an SQL statement writes, as far as its words say.

    A function that writes when it is selected is not recognised. What is not known counts as a
    write: the message then waits for the caller's commit.
    """
    found = _LEAD.match(statement)
    word = found[1].upper() if found is not None else ""
    if word == "WITH":
        return _CHANGING.search(_QUOTED.sub("", statement)) is not None
    return word not in _READING


def _on_savepoint(link: sa.Connection, name: str) -> None:
    _levels(link).append(False)


def _on_savepoint_rollback(link: sa.Connection, name: str, context: Any) -> None:
    levels = _levels(link)
    if len(levels) > 1:
        levels.pop()


def _on_savepoint_release(link: sa.Connection, name: str, context: Any) -> None:
    levels = _levels(link)
    if len(levels) > 1:
        wrote = levels.pop()
        levels[-1] = levels[-1] or wrote


def _forget(link: sa.Connection) -> None:
    link.info.pop(_WRITES, None)
