"""What the words of the search mean as conditions, and what an index can do for each.

Owns the conditions and the values that they take. Must not know the grammar, nor Flask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin.models import Message, Recipient, Status
from flask_smtp_admin.models.attempt import FIRST_REFUSAL
from flask_smtp_admin.paging import Criterion
from flask_smtp_admin.wording import listed

from .language import Known, NotUnderstood, Obstacle, Reader

KEY_LENGTH = 100
"""Characters of a subject that its search key holds."""

_AGE = re.compile(r"([0-9]{1,5})\s*(min|m|h|d|w)", re.IGNORECASE)
_AGE_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TOP = "\U0010ffff"


def _pattern(column: Any, value: str) -> tuple[sa.ColumnElement[bool], bool]:
    """Return the condition that a column matches, and whether an index over it helps."""
    head, star, rest = value.partition("*")
    if not star or not rest.strip("*"):
        # Compared as a range, since LIKE uses an index under some collations only.
        return sa.and_(column >= head, column < head + _TOP), bool(head)
    return column.like("%".join(map(_literal, value.split("*"))), escape="!"), False


def subject_key(text: str) -> str:
    """Return the form in which subjects are compared."""
    return text.casefold()[:KEY_LENGTH]


def _key(model: Any) -> Any:
    """Return the primary key of a table, which is a number."""
    return sa.inspect(model).primary_key[0]


def _literal(text: str) -> str:
    """Return a text in which LIKE sees no wildcard; its escape is ``!``, safe on every database."""
    return re.sub("([!%_])", r"!\1", text)


def begins(column: Any, fold: Callable[[str], str] = str.lower) -> Reader:
    """A word that looks at the start of a column whose rows an index over it and the id finds."""

    def criterion(value: str, _: Known) -> Criterion:
        where, indexed = _pattern(column, fold(value))
        ids = sa.select(_key(column.class_)).where(where) if indexed else None
        return Criterion(where=where, ids=ids)

    return criterion


def to(model: Any) -> Reader:
    """A word that looks at every recipient; an attempt also keeps its first one itself."""
    message_id = Message.id if model is Message else model.message_id

    def criterion(value: str, _: Known) -> Criterion:
        where, indexed = _pattern(Recipient.address_key, value.lower())
        meets = sa.exists().where(Recipient.message_id == message_id, where)
        if model is Message:
            ids: Any = sa.select(Recipient.message_id).where(where)
            return Criterion(where=meets, ids=ids if indexed else None)
        own = _pattern(model.recipient, value.lower())[0]
        key = _key(model)
        ids = sa.union_all(
            sa.select(key).where(own),
            sa.select(key).join(Recipient, Recipient.message_id == message_id).where(where),
        )
        return Criterion(where=sa.or_(own, meets), ids=ids if indexed else None)

    return criterion


def contains(column: Any, fold: Callable[[str], str] = str.lower) -> Reader:
    """A word that looks for a text anywhere in a column; no index helps."""

    def criterion(value: str, _: Known) -> Criterion:
        words = "%".join(map(_literal, fold(value).split("*")))
        return Criterion(where=column.like(f"%{words}%", escape="!"))

    return criterion


def reason(column: Any) -> Reader:
    """A word that looks for a text anywhere in the reason that a message's row shows.

    While its connection keeps it, a row shows the trouble of that one, which is not stored with the
    message.
    """
    stored = contains(sa.func.lower(column))

    def criterion(value: str, known: Known) -> Criterion:
        where = stored(value, known).where
        assert where is not None
        parts = map(re.escape, value.lower().split("*"))
        wanted = re.compile(".*".join(parts), re.DOTALL)
        kept = [_kept_by(one) for one in known.obstacles if wanted.search(one.words.lower())]
        return Criterion(where=sa.or_(where, *kept))

    return criterion


def _kept_by(obstacle: Obstacle) -> sa.ColumnElement[bool]:
    conditions = [
        Message.status == Status.QUEUED,
        Message.connection_id == obstacle.connection,
    ]
    if obstacle.until is not None:
        conditions.append(Message.due_at < obstacle.until)
    return sa.and_(*conditions)


def sender(column: Any) -> Reader:
    """A word that looks at the start of the sender's address; no index helps."""

    def criterion(value: str, _: Known) -> Criterion:
        pattern = "%".join(map(_literal, value.lower().split("*")))
        return Criterion(where=sa.func.lower(column).like(f"{pattern}%", escape="!"))

    return criterion


def connection(column: Any) -> Reader:
    """A word that names a connection by its caption, the start of it, or its number."""

    def criterion(value: str, known: Known) -> Criterion:
        if value.casefold() in ("none", "-") and value.casefold() not in _folded(known):
            return Criterion(where=column.is_(None), streams=(column.is_(None),))
        wanted = _connections_called(value, known)
        return Criterion(
            where=column.in_(wanted), streams=tuple(column == number for number in wanted)
        )

    return criterion


def _folded(known: Known) -> dict[str, int]:
    return {caption.casefold(): number for number, caption in known.connections.items()}


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 18


def _connections_called(value: str, known: Known) -> list[int]:
    by_caption = _folded(known)
    folded = value.casefold()
    if folded in by_caption:
        return [by_caption[folded]]
    if _is_number(value) and int(value) in known.connections:
        return [int(value)]
    stem = folded.rstrip("*")
    begun = [number for caption, number in by_caption.items() if stem and caption.startswith(stem)]
    if begun:
        return begun
    names = listed(f"“{caption}”" for caption in known.connections.values())
    raise NotUnderstood(
        f"No connection is called “{value}”. "
        + (f"There are {names}." if known.connections else "None is set up yet.")
    )


def code(code: Any, enhanced: Any, *, is_refusal: sa.ColumnElement[bool] | None = None) -> Reader:
    """A word that takes a reply code, a class of them, or an enhanced code.

    :param is_refusal: the condition of the rows that an index over the code has; default: there is none.
    """

    def criterion(value: str, _: Known) -> Criterion:
        if re.fullmatch(r"[2-5][0-9]{2}", value):
            test = code == int(value)
            if is_refusal is None or int(value) < FIRST_REFUSAL:
                return Criterion(where=test)
            return Criterion(where=test, streams=(sa.and_(test, is_refusal),))
        if re.fullmatch(r"[2-5]xx", value, re.IGNORECASE):
            first = int(value[0]) * 100
            return Criterion(where=code.between(first, first + 99))
        if re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", value):
            return Criterion(where=enhanced == value)
        raise NotUnderstood(
            f"“{value}” is no reply code. Write three digits (code:451), a class (code:4xx) or an "
            "enhanced code (code:4.7.1)."
        )

    return criterion


def never(reader: Reader) -> Reader:
    """A word that takes the same values, of which the rows have none."""

    def criterion(value: str, known: Known) -> Criterion:
        reader(value, known)
        return Criterion(where=sa.false())

    return criterion


def before(value: str, known: Known) -> Criterion:
    """Rows from before a time."""
    return Criterion(until=_time(value, known, "before"))


def after(value: str, known: Known) -> Criterion:
    """Rows since a time."""
    return Criterion(since=_time(value, known, "after"))


def _time(value: str, known: Known, word: str) -> datetime:
    """Read a date (its start is meant), a time or an age.

    :raises NotUnderstood: it is none of them.
    """
    today = known.now.astimezone(known.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        found = _moment(value, known, today).astimezone(timezone.utc)
        if 1970 <= found.year < 9000:
            return found
    except (ValueError, OverflowError):
        pass
    raise NotUnderstood(
        f"“{value}” is no time. Write {word}:{today:%Y-%m-%d}, {word}:{today:%Y-%m-%d}T14:30, "
        f"{word}:yesterday, or an age such as {word}:3d, {word}:2h or {word}:30min."
    )


def _moment(value: str, known: Known, today: datetime) -> datetime:
    age = _AGE.fullmatch(value)
    if age:
        return known.now - timedelta(**{_AGE_UNITS[age[2].lower()]: int(age[1])})
    if value.casefold() in ("today", "yesterday"):
        return today - timedelta(days=value.casefold() == "yesterday")
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=known.zone)


def number(column: Any) -> Reader:
    """A word that takes the number of a message."""

    def criterion(value: str, _: Known) -> Criterion:
        if not _is_number(value):
            raise NotUnderstood(f"“{value}” is no number of a message. Write id:1204.")
        test = column == int(value)
        return Criterion(where=test, ids=sa.select(_key(column.class_)).where(test))

    return criterion
