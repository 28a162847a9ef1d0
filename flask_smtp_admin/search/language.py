"""The grammar of the search: terms, quotes, and the sentences about what is not understood.

Owns how a text becomes terms. Must not know which words a list has, nor Flask.

A search is words and ``key:value`` terms, separated by spaces; a value with spaces stands in double
quotes. All terms have to be met, except that several ``status:`` terms add up. ``*`` stands for any
text; a value without it matches what begins with it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from typing import Any, TypeAlias

from flask_smtp_admin.paging import Criterion, Listed
from flask_smtp_admin.wording import listed

LONGEST = 500
"""Characters of a search; what goes beyond is refused."""
MOST_TERMS = 20
"""Terms of a search; each may cost the database a query."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TOKEN = re.compile(r'(?:(?P<key>[A-Za-z][A-Za-z-]*):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>\S*))')


class NotUnderstood(ValueError):
    """A value that a search word cannot take; the message says what it can."""


@dataclass(frozen=True)
class Obstacle:
    """What keeps the waiting messages of a connection, in the words that their rows show.

    :param connection: its id; ``None`` stands for the messages that have none.
    :param until: it keeps those that are due before this time; ``None``: all of them.
    """

    connection: int | None
    words: str
    until: datetime | None = None


@dataclass(frozen=True)
class Known:
    """What a search is read against.

    :param connections: captions by the connections' ids.
    :param zone: the time zone that dates are meant in.
    :param obstacles: what rows show instead of the reason that is stored with their message.
    """

    now: datetime
    zone: tzinfo = timezone.utc
    connections: Mapping[int, str] = field(default_factory=dict)
    obstacles: tuple[Obstacle, ...] = ()


Reader: TypeAlias = Callable[[str, Known], Criterion]
"""Reads the value of a word; raises :class:`NotUnderstood`."""


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
        """The conditions of all terms but ``status:``; several times become one span."""
        found = [one.criterion for one in self.terms if one.word != "status"]
        since = max((c.since for c in found if c.since is not None), default=None)
        until = min((c.until for c in found if c.until is not None), default=None)
        rest = [c for c in found if c.since is None and c.until is None]
        if since is None and until is None:
            return rest
        return [*rest, Criterion(since=since, until=until)]

    def without_word(self, word: str) -> str:
        """Return the text of the search without the terms of a word; as typed if it has none."""
        if self.problems or all(one.word != word for one in self.terms):
            return self.text
        return " ".join(one.text for one in self.terms if one.word != word)

    def without(self, one: Term) -> str:
        """Return the text of the search without one of its terms."""
        return " ".join(other.text for other in self.terms if other is not one)


@dataclass(frozen=True)
class Word:
    """A word of the language, with what the help says of it."""

    example: str
    meaning: str
    criterion: Reader


@dataclass(frozen=True)
class Language:
    """The words of one list.

    :param statuses: what ``status:`` takes, each with the states that it stands for.
    :param synonyms: what it takes besides, and nobody is told of: other names of the same.
    """

    table: Listed
    words: Mapping[str, Word]
    statuses: Mapping[str, tuple[Any, ...]]
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def status_criterion(self, statuses: Iterable[Any]) -> Criterion:
        """Return the condition that a row is in one of the states."""
        return among(self.table.id.class_.status, statuses)


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
    if _CONTROL.search(text):
        return Search(
            _CONTROL.sub("\ufffd", text),
            problems=("The search holds a control character; type it again.",),
        )
    tokens = list(_tokens(text))
    if len(tokens) > MOST_TERMS:
        return Search(text, problems=(f"The search has more than {MOST_TERMS} terms.",))
    terms: list[Term] = []
    statuses: list[Any] = []
    problems: list[str] = []
    for word, value in tokens:
        try:
            terms.append(_read_term(word, value, language, known, statuses))
        except NotUnderstood as error:
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
    name = value.casefold().replace("-", " ").replace("_", " ")
    found = language.statuses.get(language.synonyms.get(name, name))
    if found is None:
        names = listed(term("status", name) for name in language.statuses)
        raise NotUnderstood(f"“{value}” is no status. There are {names}.")
    return found


def among(column: Any, values: Iterable[Any]) -> Criterion:
    """Return the condition that a column has one of the values.

    :param column: an index over it and the id is there.
    """
    wanted = tuple(values)
    return Criterion(where=column.in_(wanted), streams=tuple(column == one for one in wanted))
