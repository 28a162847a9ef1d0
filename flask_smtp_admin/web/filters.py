"""What part of a list an address asks for: tab, search text and connection.

Owns the reading of the address, the links that change one part of it, and the searches that the
page explains. Must not know how rows are found or shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import request, url_for
from sqlalchemy.orm import Session

from flask_smtp_admin import search, surroundings
from flask_smtp_admin.paging import Criterion
from flask_smtp_admin.search import Known, Language, Search, Term

from . import access
from .access import blueprint

PARTS = ("tab", "q", "connection", "size")
"""The parts of an address that stay when one follows a link inside a list."""


@dataclass(frozen=True)
class Tab:
    """A group of states that the list shows together.

    :param name: its word in the address; empty for the first tab.
    """

    name: str
    label: str
    statuses: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Filter:
    """What an address asks for.

    ``known``: what the search was read against, with the connections for the choice.
    """

    endpoint: str
    language: Language
    tabs: Sequence[Tab]
    tab: Tab | None
    """``None`` while the search names states itself."""
    search: Search
    connection: int | None
    known: Known
    faults: tuple[str, ...] = ()
    """What is wrong with the tab and the connection, in sentences."""

    @property
    def connections(self) -> Mapping[int, str]:
        """Captions by the connections' ids."""
        return self.known.connections

    @property
    def problems(self) -> tuple[str, ...]:
        """What was not understood, in sentences."""
        return (*self.search.problems, *self.faults)

    @property
    def understood(self) -> bool:
        """Whether the list may be read, and acted on. A part that is dropped would widen it."""
        return not self.problems

    @property
    def narrowed(self) -> bool:
        """Whether more than the tab decides which rows are shown."""
        return bool(self.search.text.strip() or self.faults) or self.connection is not None

    @property
    def statuses(self) -> tuple[Any, ...]:
        """The states that the list shows; empty for all."""
        if self.search.statuses:
            return self.search.statuses
        return self.tab.statuses if self.tab else ()

    def criteria(self, statuses: Sequence[Any] | None = None) -> list[Criterion]:
        """Return the conditions of the list.

        :param statuses: other states than those that the address asks for.
        """
        wanted = self.statuses if statuses is None else tuple(statuses)
        conditions = [self.language.status_criterion(wanted)] if wanted else []
        if self.connection is not None:
            column = self.language.table.id.class_.connection_id
            conditions.append(search.among(column, [self.connection]))
        return [*conditions, *self.search.criteria]

    def over(self, language: Language) -> Filter:
        """Return the same filter over another table, whose list has the same words."""
        found = search.read(self.search.text, language, self.known)
        return replace(self, language=language, search=found)

    def url(self, endpoint: str | None = None, **changes: Any) -> str:
        """Return the address with some parts changed; cursors are left out unless given."""
        parts = {name: request.args.get(name) for name in PARTS} | changes
        given = {name: value for name, value in parts.items() if value not in (None, "")}
        return url_for(f"{blueprint.name}.{endpoint or self.endpoint}", **given)

    def only(self, word: str, value: str) -> str:
        """Return the address of the list with one term alone, for a clicked value."""
        return self.url(q=search.term(word, value), connection=None)

    @property
    def bare_words(self) -> list[Term]:
        """The terms without a key, which look at the subject alone."""
        return [one for one in self.search.terms if one.word == "text"]


def read(session: Session, endpoint: str, language: Language, tabs: Sequence[Tab]) -> Filter:
    """Read the present request's address. What is not understood is said in ``problems``."""
    known = surroundings.known(session, access.core())
    captions = known.connections
    found = search.read(request.args.get("q", ""), language, known)
    wanted = request.args.get("tab", "")
    tab = next((tab for tab in tabs if tab.name == wanted), None)
    chosen, faults = _chosen(request.args.get("connection", "").strip(), captions)
    if tab is None:
        faults += (f"There is no tab “{_short(wanted)}” here. It may come from an old link.",)
    return Filter(
        endpoint=endpoint,
        language=language,
        tabs=tabs,
        tab=None if found.statuses else tab,
        search=found,
        connection=chosen,
        known=known,
        faults=faults,
    )


def _chosen(value: str, captions: Mapping[int, str]) -> tuple[int | None, tuple[str, ...]]:
    """Return the connection that an address asks for, and what is wrong with it."""
    if not value:
        return None, ()
    if value.isascii() and value.isdecimal() and len(value) <= 18 and int(value) in captions:
        return int(value), ()
    return None, (
        f"There is no connection with the number “{_short(value)}”. It may have been deleted since.",
    )


def _short(value: str) -> str:
    return value if len(value) <= 20 else f"{value[:20]}…"
