"""The search language of the queue and the log.

Owns its words, what they mean for each list, and the sentences about what it does not understand.
Must not know Flask: the pages and the command line hand it a text.

A search is words and ``key:value`` terms, separated by spaces; a value with spaces stands in double
quotes. All terms have to be met, except that several ``status:`` terms add up. ``*`` stands for any
text; a value without it matches what begins with it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from enum import Enum
from typing import Any, TypeAlias

import sqlalchemy as sa

from .models import Attempt, AttemptStatus, Message, Recipient, Status
from .paging import Criterion, Listed
from .wording import listed

LONGEST = 500
"""Characters of a search; what goes beyond is refused."""
KEY_LENGTH = 100
"""Characters of a subject that its search key holds."""

_TOKEN = re.compile(r'(?:(?P<key>[A-Za-z][A-Za-z-]*):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>\S*))')
_AGE = re.compile(r"(\d{1,5})\s*(min|m|h|d|w)", re.IGNORECASE)
_AGE_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TOP = "\U0010ffff"


class NotUnderstood(ValueError):
    """A value that a search word cannot take; the message says what it can."""


@dataclass(frozen=True)
class Known:
    """What a search is read against.

    :param connections: captions by the connections' ids.
    :param zone: the time zone that dates are meant in.
    """

    now: datetime
    zone: tzinfo = timezone.utc
    connections: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Term:
    """One understood term: its word, its value, and the text that stands for it."""

    word: str
    value: str
    criterion: Criterion

    @property
    def text(self) -> str:
        """The term as one types it."""
        return term(self.word, self.value)


@dataclass(frozen=True)
class Search:
    """A search that was read. While it has ``problems`` it must not be run."""

    text: str = ""
    terms: tuple[Term, ...] = ()
    statuses: tuple[Any, ...] = ()
    """Members of the list's status enumeration that ``status:`` named."""
    problems: tuple[str, ...] = ()

    @property
    def criteria(self) -> list[Criterion]:
        """The conditions of all terms but ``status:``."""
        return [one.criterion for one in self.terms if one.word != "status"]

    def without(self, one: Term) -> str:
        """Return the text of the search without one of its terms."""
        return " ".join(other.text for other in self.terms if other is not one)


@dataclass(frozen=True)
class Word:
    """A word of the language, with what the help says of it."""

    example: str
    meaning: str
    criterion: Callable[[str, Known], Criterion]


@dataclass(frozen=True)
class Language:
    """The words of one list.

    :param statuses: what ``status:`` takes, each with the states that it stands for.
    """

    table: Listed
    words: Mapping[str, Word]
    statuses: Mapping[str, tuple[Any, ...]]

    def status_criterion(self, statuses: Iterable[Any]) -> Criterion:
        """Return the condition that a row is in one of the states."""
        return among(self.table.id.class_.status, statuses)


_Reader: TypeAlias = Callable[[str, Known], Criterion]


def term(word: str, value: str) -> str:
    """Return a search term for a value, in quotes where it needs them."""
    value = value.replace('"', "*")
    if not value or re.search(r"\s", value) or (word == "text" and ":" in value):
        value = f'"{value}"'
    return value if word == "text" else f"{word}:{value}"


def read(text: str, language: Language, known: Known) -> Search:
    """Read a search. What is not understood becomes a sentence in ``problems``."""
    if len(text) > LONGEST:
        return Search(text, problems=(f"The search is longer than {LONGEST} characters.",))
    terms: list[Term] = []
    statuses: list[Any] = []
    problems: list[str] = []
    for word, value in _tokens(text):
        try:
            terms.append(_read_term(word, value, language, known, statuses))
        except NotUnderstood as error:  # noqa: PERF203 - each term has its own sentence
            problems.append(str(error))
    return Search(text, tuple(terms), tuple(dict.fromkeys(statuses)), tuple(problems))


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        value = match["plain"] if match["quoted"] is None else match["quoted"]
        if match[0].strip():
            yield (match["key"] or "").lower(), value.strip()


def _read_term(
    word: str, value: str, language: Language, known: Known, statuses: list[Any]
) -> Term:
    if not word:
        if not value:
            raise NotUnderstood("The quotation marks are empty.")
        word = "to" if "@" in value else "text"
    names = [*(name for name in language.words if name != "text"), "status"]
    if word not in language.words and word != "status":
        close = difflib.get_close_matches(word, names, n=1)
        hint = f"Did you mean “{close[0]}:”?" if close else f"There are {_spelled(names)}."
        raise NotUnderstood(f"“{word}:” is no search word. {hint}")
    if not value:
        raise NotUnderstood(f"“{word}:” has nothing after it; write it without a space between.")
    if word == "status":
        statuses += _status(value, language)
        return Term(word, value, Criterion())
    return Term(word, value, language.words[word].criterion(value, known))


def _spelled(names: Iterable[str]) -> str:
    return listed(f"“{name}:”" for name in names)


def _status(value: str, language: Language) -> tuple[Any, ...]:
    found = language.statuses.get(value.casefold().replace("-", " ").replace("_", " "))
    if found is None:
        names = listed(term("status", name) for name in language.statuses)
        raise NotUnderstood(f"“{value}” is no status. There are {names}.")
    return found


# ---------------------------------------------------------------- conditions


def among(column: Any, values: Iterable[Enum]) -> Criterion:
    """Return the condition that a column has one of the values; an index over it and the id is there."""
    wanted = tuple(values)
    return Criterion(where=column.in_(wanted), streams=tuple(column == one for one in wanted))


def _pattern(column: Any, value: str) -> tuple[sa.ColumnElement[bool], bool]:
    """Return the condition that a column matches, and whether an index over it helps."""
    head, star, rest = value.partition("*")
    if not star or not rest.strip("*"):
        # Compared as a range, since LIKE uses an index under some collations only.
        return sa.and_(column >= head, column < head + _TOP), bool(head)
    return column.like("%".join(map(_literal, value.split("*"))), escape="!"), False


def _subject_key(text: str) -> str:
    return text.casefold()[:KEY_LENGTH]


def _literal(text: str) -> str:
    """Return a text in which LIKE sees no wildcard; its escape is ``!``, safe on every database."""
    return re.sub("([!%_])", r"!\1", text)


def _begins(column: Any, fold: Callable[[str], str] = str.lower) -> _Reader:
    """A word that looks at the start of a column whose rows an index over it and the id finds."""

    def criterion(value: str, _: Known) -> Criterion:
        where, indexed = _pattern(column, fold(value))
        ids = sa.select(column.class_.id).where(where) if indexed else None
        return Criterion(where=where, ids=ids)

    return criterion


def _to(model: Any) -> _Reader:
    """A word that looks at every recipient; an attempt also keeps its first one itself."""
    message_id = Message.id if model is Message else Attempt.message_id

    def criterion(value: str, _: Known) -> Criterion:
        where, indexed = _pattern(Recipient.address_key, value.lower())
        meets = sa.exists().where(Recipient.message_id == message_id, where)
        if model is Message:
            ids: Any = sa.select(Recipient.message_id).where(where)
            return Criterion(where=meets, ids=ids if indexed else None)
        own = _pattern(Attempt.recipient, value.lower())[0]
        ids = sa.union_all(
            sa.select(Attempt.id).where(own),
            sa.select(Attempt.id).join(Recipient, Recipient.message_id == message_id).where(where),
        )
        return Criterion(where=sa.or_(own, meets), ids=ids if indexed else None)

    return criterion


def _contains(column: Any, fold: Callable[[str], str] = str.lower) -> _Reader:
    def criterion(value: str, _: Known) -> Criterion:
        words = "%".join(map(_literal, fold(value).split("*")))
        return Criterion(where=column.like(f"%{words}%", escape="!"))

    return criterion


def _from(column: Any) -> _Reader:
    def criterion(value: str, _: Known) -> Criterion:
        return Criterion(where=_pattern(sa.func.lower(column), value.lower())[0])

    return criterion


def _connection(column: Any) -> _Reader:
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


def _connections_called(value: str, known: Known) -> list[int]:
    by_caption = _folded(known)
    folded = value.casefold()
    if folded in by_caption:
        return [by_caption[folded]]
    if value.isdigit() and int(value) in known.connections:
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


def _code(code: Any, enhanced: Any, *, indexed: bool) -> _Reader:
    def criterion(value: str, _: Known) -> Criterion:
        if re.fullmatch(r"[2-5]\d\d", value):
            test = code == int(value)
            return Criterion(where=test, streams=(test,) if indexed else ())
        if re.fullmatch(r"[2-5]xx", value, re.IGNORECASE):
            first = int(value[0]) * 100
            return Criterion(where=code.between(first, first + 99))
        if re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", value):
            return Criterion(where=enhanced == value)
        raise NotUnderstood(
            f"“{value}” is no reply code. Write three digits (code:451), a class (code:4xx) or an "
            "enhanced code (code:4.7.1)."
        )

    return criterion


def _before(value: str, known: Known) -> Criterion:
    return Criterion(until=_time(value, known, "before"))


def _after(value: str, known: Known) -> Criterion:
    return Criterion(since=_time(value, known, "after"))


def _time(value: str, known: Known, word: str) -> datetime:
    """Read a date (its start is meant), a time or an age.

    :raises NotUnderstood: it is none of them.
    """
    age = _AGE.fullmatch(value)
    today = known.now.astimezone(known.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if age:
            unit = _AGE_UNITS[age[2].lower()]
            return (known.now - timedelta(**{unit: int(age[1])})).astimezone(timezone.utc)
        if value.casefold() in ("today", "yesterday"):
            # "after:yesterday" is meant to show yesterday's rows, so a named day counts in.
            day = today - timedelta(days=value.casefold() == "yesterday")
            return day.astimezone(timezone.utc)
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            found = found.replace(tzinfo=known.zone)
        return found.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        example = today.strftime("%Y-%m-%d")
        raise NotUnderstood(
            f"“{value}” is no time. Write {word}:{example}, {word}:{example}T14:30, "
            f"{word}:yesterday, or an age such as {word}:3d, {word}:2h or {word}:30min."
        ) from None


def _number(column: Any) -> _Reader:
    def criterion(value: str, _: Known) -> Criterion:
        if not value.isdecimal() or len(value) > 18:
            raise NotUnderstood(f"“{value}” is no number of a message. Write id:1204.")
        test = column == int(value)
        return Criterion(where=test, ids=sa.select(column.class_.id).where(test))

    return criterion


def _words(model: Any) -> dict[str, Word]:
    """The words that both lists have, over the columns of one."""
    queue = model is Message
    code = Message.last_code if queue else Attempt.smtp_code
    enhanced = Message.last_enhanced if queue else Attempt.enhanced_code
    made = "were made" if queue else "began"
    return {
        "to": Word(
            "to:ann@example.org",
            "a recipient begins so; to:*@example.org for a whole domain",
            _to(model),
        ),
        "from": Word("from:shop@", "the sender's address begins so", _from(model.sender)),
        "subject": Word(
            'subject:"your order"',
            "the subject begins so; subject:*order* if it is anywhere in it",
            _begins(model.subject_key, _subject_key),
        ),
        "connection": Word(
            "connection:Main",
            "carried by this connection, named by its caption or number",
            _connection(model.connection_id),
        ),
        "before": Word("before:2026-11-01", f"{made} before this day, time or age", _before),
        "after": Word("after:3d", f"{made} since this day, time or age", _after),
        "code": Word(
            "code:451",
            "the server's last reply; also code:4xx and code:4.7.1",
            _code(code, enhanced, indexed=not queue),
        ),
        "reason": Word(
            "reason:greylist", "the reason has this in it", _contains(sa.func.lower(model.reason))
        ),
        "id": Word(
            "id:1204",
            "the message with this number",
            _number(Message.id if queue else Attempt.message_id),
        ),
        "text": Word(
            "order",
            "a word without a key: the subject has it in it, or with an @ the recipient begins so",
            _contains(model.subject_key, _subject_key),
        ),
    }


MESSAGES = Language(
    table=Listed(Message.id, Message.created_at),
    words=_words(Message),
    statuses={
        "waiting": (Status.QUEUED,),
        "sending": (Status.SENDING,),
        "held": (Status.HELD,),
        "failed": (Status.FAILED,),
        "partial": (Status.PARTIAL,),
        "sent": (Status.SENT,),
        "deleted": (Status.DELETED,),
        "unsent": (Status.QUEUED, Status.SENDING, Status.HELD, Status.FAILED, Status.PARTIAL),
    },
)

ATTEMPTS = Language(
    table=Listed(Attempt.id, Attempt.started_at),
    words=_words(Attempt),
    statuses={
        "success": (AttemptStatus.SUCCESS,),
        "fail": (AttemptStatus.FAIL,),
        "in progress": (AttemptStatus.IN_PROGRESS,),
    },
)
