"""The pages of a list: cursors in the address, links to the neighbours, counts on the tabs.

Owns how :mod:`flask_smtp_admin.paging` meets an address. Must not know what the rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from flask import request

from flask_smtp_admin import paging
from flask_smtp_admin.paging import Page
from flask_smtp_admin.wording import Count

from .filters import Filter, Tab

SIZES = (25, 50, 100, 200)
DEFAULT_SIZE = 50


@dataclass(frozen=True)
class TabView:
    """A tab with its count and address."""

    tab: Tab
    count: Count | None
    """``None``: it would take too long to count them."""
    url: str
    current: bool


@dataclass(frozen=True)
class Listing:
    """One page of a list, and what is around it.

    :param total: how many rows match, as far as it was counted.
    :param newest: the newest id when the page was read: acts on "all" stop there, so that they
        change nothing that nobody has seen.
    :param searched_to: the time down to which rows were looked at, when that was not the end.
    """

    page: Page
    total: Count
    newest: int
    tabs: tuple[TabView, ...]
    newer_url: str | None
    older_url: str | None
    searched_to: datetime | None
    size: int

    @property
    def first(self) -> bool:
        """Whether this is the top of the list."""
        return self.newer_url is None


def read(connection: sa.Connection, filter_: Filter) -> Listing:
    """Find the page that the address asks for. A search that is not understood finds nothing."""
    size = _size()
    if not filter_.understood:
        page, total = Page(), Count(0)
    else:
        criteria = filter_.criteria()
        table = filter_.language.table
        page = paging.find(
            connection,
            table,
            criteria,
            before=_cursor("before"),
            after=_cursor("after"),
            size=size,
        )
        total = _total(connection, table, criteria) if page.found is None else page.found
    table = filter_.language.table
    return Listing(
        page=page,
        total=total,
        newest=connection.scalar(sa.select(sa.func.max(table.id))) or 0,
        tabs=tuple(_tab(connection, filter_, tab, total) for tab in filter_.tabs),
        newer_url=None if page.newer is None else filter_.url(after=page.newer),
        older_url=None if page.older is None else filter_.url(before=page.older),
        searched_to=_time_of(connection, filter_, page.searched_to),
        size=size,
    )


def _total(
    connection: sa.Connection, table: paging.Listed, criteria: Sequence[paging.Criterion]
) -> Count:
    quick = paging.count_quickly(connection, table, criteria)
    return paging.count(connection, table, criteria) if quick is None else quick


def _tab(connection: sa.Connection, filter_: Filter, tab: Tab, total: Count) -> TabView:
    current = tab is filter_.tab
    count: Count | None = Count(0)
    if filter_.understood and not filter_.search.statuses:
        table = filter_.language.table
        criteria = filter_.criteria(tab.statuses)
        count = total if current else paging.count_quickly(connection, table, criteria)
    url = filter_.url(tab=tab.name, q=filter_.search.without_word("status"))
    return TabView(tab, count, url, current)


def _cursor(name: str) -> int | None:
    """Return a cursor of the address; one that is no number is as if it was not there."""
    value = request.args.get(name, "")
    return int(value) if value.isdecimal() and len(value) <= 18 else None


def _size() -> int:
    value = request.args.get("size", DEFAULT_SIZE, type=int)
    return value if value in SIZES else DEFAULT_SIZE


def _time_of(connection: sa.Connection, filter_: Filter, number: int | None) -> datetime | None:
    if number is None:
        return None
    table = filter_.language.table
    found: datetime | None = connection.scalar(sa.select(table.at).where(table.id == number))
    return found
