"""Finding the rows of a page, and counting them, at a cost that does not grow with the table.

Owns the plan by which conditions become bounded queries. Must not know which table it reads, what
the conditions mean, nor Flask.

A list is read by its ``id``, newest first, a page at a time from a cursor, which is the id at the
edge of the page before (keyset paging: there is no OFFSET). Each condition says what an index can do
for it, and one of three plans follows:

* *rare*: an indexed condition that few rows meet. Its ids are fetched, the other conditions
  sift them.
* *walk*: the ids are walked along an index in their order, and nothing else has to be tested.
* *sifted walk*: as before, with conditions left that no index helps. The walk then ends after
  ``WINDOW`` rows, and the page says how far it got and offers to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import sqlalchemy as sa

from .wording import Count

RARE = 500
"""A condition that at most so many rows meet is looked up before the list is walked."""
WINDOW = 1_000
"""So many rows a sifted walk looks at before it asks whether to go on."""
COUNT_LIMIT = 100_000
"""Beyond this number a count says "100,000+"."""
QUICK_LIMIT = 5_000
"""The same where a page shows several counts."""
ACT_LIMIT = 100_000
"""So many rows an act on "all that match" looks at, from the newest down."""

_SLACK = timedelta(minutes=5)
# Ids and times rise together, but not to the second: transactions overlap and clocks differ.

_Test: TypeAlias = "sa.ColumnElement[bool]"


@dataclass(frozen=True)
class Listed:
    """A table that is read by pages.

    :param id: its primary key, an integer that rises.
    :param at: the time that rows are asked for by.
    :param rises: a time that rises with the key, and is not before ``at``. Default: that one.
    :param lasts: how much later it may be.
    """

    id: Any
    at: Any
    rises: Any = None
    lasts: timedelta = timedelta()

    @property
    def in_order(self) -> Any:
        """The time that rises with the key."""
        return self.at if self.rises is None else self.rises


@dataclass(frozen=True)
class Criterion:
    """A condition, and what an index can do for it.

    :param where: the whole condition; ``None`` where the times say it all.
    :param streams: the same as alternatives that exclude each other, each of which an index over
        the column and the id serves.
    :param ids: selects the ids of the rows that meet it, in any order, by an index.
    :param since: rows from this time on.
    :param until: rows before this time.
    """

    where: _Test | None = None
    streams: tuple[_Test, ...] = ()
    ids: sa.Select[Any] | sa.CompoundSelect[Any] | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """The ids of one page, newest first, and the cursors to its neighbours.

    :param older: cursor of the next page: rows with a smaller id.
    :param newer: cursor of the page before: rows with a greater id.
    :param searched_to: the id at which a sifted walk stopped before the page was full.
    :param found: what :func:`count` would say, if it is known already.
    """

    ids: tuple[int, ...] = ()
    older: int | None = None
    newer: int | None = None
    searched_to: int | None = None
    found: Count | None = None


@dataclass(frozen=True)
class _Plan:
    """How the rows are found: by ids at hand, or by walking one or several streams."""

    rare: tuple[int, ...] | None
    streams: tuple[_Test, ...]
    tests: tuple[_Test, ...]
    """What is left to be tested on each row."""
    edges: tuple[_Test, ...]
    """Bounds of the id that follow from the times."""

    @property
    def is_sifted(self) -> bool:
        """Whether rows of a walk have to be tested."""
        return self.rare is None and bool(self.tests)


# ---------------------------------------------------------------- reading


def find(
    connection: sa.Connection,
    table: Listed,
    criteria: Sequence[Criterion] = (),
    *,
    before: int | None = None,
    after: int | None = None,
    size: int = 50,
) -> Page:
    """Return a page of the rows that meet all criteria.

    :param before: cursor: rows with a smaller id than this.
    :param after: cursor in the other direction: the nearest rows with a greater id.
    """
    plan = _plan(connection, table, criteria)
    if after is not None:
        page = _newer(connection, table, plan, after, size)
        if page is not None:
            return page
        before = None  # the top of the list is reached: show the whole first page
    bound = () if before is None else (table.id < before,)
    ids, edge = _walk(connection, table, plan, bound, size + 1)
    more = len(ids) > size
    shown = ids[:size]
    all_counted = not bound and (plan.is_sifted or not more)
    return Page(
        ids=shown,
        older=shown[-1] if more else edge,
        newer=(shown[0] if shown else before) if before is not None else None,
        searched_to=None if more else edge,
        found=Count(len(ids), edge is not None) if all_counted else None,
    )


def _newer(
    connection: sa.Connection, table: Listed, plan: _Plan, after: int, size: int
) -> Page | None:
    """Return the page above ``after``, or ``None`` where not even one full page is above it."""
    ids, edge = _walk(connection, table, plan, (table.id > after,), size + 1, upwards=True)
    if len(ids) <= size and edge is None:
        return None
    shown = tuple(reversed(ids[:size]))
    top = shown[0] if len(ids) > size else edge
    return Page(
        ids=shown,
        older=shown[-1] if shown else after + 1,
        newer=top,
        searched_to=None if len(ids) > size else edge,
    )


def count(
    connection: sa.Connection,
    table: Listed,
    criteria: Sequence[Criterion] = (),
    *,
    up_to: int | None = None,
) -> Count:
    """Count the rows that meet all criteria, up to a bound.

    :param up_to: leave out rows with a greater id, which came after the page was read.
    """
    plan = _plan(connection, table, criteria)
    bound = () if up_to is None else (table.id <= up_to,)
    quick = _count_quickly(connection, table, plan, bound, COUNT_LIMIT)
    if quick is not None:
        return quick
    found, edge = _sifted(connection, table, plan, bound)
    return Count(len(found), edge is not None)


def count_quickly(
    connection: sa.Connection, table: Listed, criteria: Sequence[Criterion] = ()
) -> Count | None:
    """Count as :func:`count` does, but no further than a page that is to be quick can wait for.

    ``None``: each row would have to be looked at.
    """
    return _count_quickly(connection, table, _plan(connection, table, criteria), (), QUICK_LIMIT)


def _count_quickly(
    connection: sa.Connection, table: Listed, plan: _Plan, bound: tuple[_Test, ...], limit: int
) -> Count | None:
    if plan.rare is not None:
        where = (_is_among(connection, table.id, plan.rare), *plan.tests, *plan.edges, *bound)
        return Count(connection.scalar(sa.select(sa.func.count()).where(*where)) or 0)
    if plan.tests:
        return None
    rows = _candidates(table, plan, bound, limit + 1).subquery()
    found = connection.scalar(sa.select(sa.func.count()).select_from(rows)) or 0
    return Count(min(found, limit), found > limit)


def reach(
    connection: sa.Connection,
    table: Listed,
    criteria: Sequence[Criterion] = (),
    *,
    up_to: int | None = None,
) -> tuple[list[_Test], int | None]:
    """Return the conditions of an act on all rows that meet the criteria, and what it leaves.

    An act looks at the newest ``ACT_LIMIT`` rows of the walk. Where there are more, the second
    value is the id from which it has to be repeated, as ``up_to``; otherwise it is ``None``.

    :param up_to: leave out rows with a greater id.
    """
    plan = _plan(connection, table, criteria)
    bound = () if up_to is None else (table.id <= up_to,)
    where = [*conditions(table, criteria), *plan.edges, *bound]
    if plan.rare is not None:
        return [*where, _is_among(connection, table.id, plan.rare)], None
    rows = _candidates(table, plan, bound, ACT_LIMIT + 1).subquery()
    looked, lowest = connection.execute(
        sa.select(sa.func.count(), sa.func.min(rows.c.id)).select_from(rows)
    ).one()
    if looked <= ACT_LIMIT:
        return where, None
    return [*where, table.id > lowest], int(lowest)


def conditions(table: Listed, criteria: Sequence[Criterion]) -> list[_Test]:
    """Return the conditions that rows meet, for a table of so few that it needs no plan."""
    tests = [c.where for c in criteria if c.where is not None]
    return [*tests, *_times(table, criteria)]


# ---------------------------------------------------------------- the plan


def _plan(connection: sa.Connection, table: Listed, criteria: Sequence[Criterion]) -> _Plan:
    tests = {n: c.where for n, c in enumerate(criteria) if c.where is not None}
    times = tuple(_times(table, criteria))
    edges = tuple(_edges(connection, table, criteria))
    streamed = next((n for n, c in enumerate(criteria) if c.streams), None)
    simple = len(tests) == (streamed is not None) and not times
    if not simple:
        looked_up = ((n, _rare(connection, table, c)) for n, c in enumerate(criteria))
        few = [(n, ids) for n, ids in looked_up if ids is not None]
        if few:
            chosen, ids = min(few, key=lambda one: len(one[1]))
            rest = (test for n, test in tests.items() if n != chosen)
            return _Plan(ids, (), (*rest, *times), edges)
    streams = () if streamed is None else criteria[streamed].streams
    rest = (test for m, test in tests.items() if m != streamed)
    return _Plan(None, streams, (*rest, *times), edges)


def _times(table: Listed, criteria: Sequence[Criterion]) -> list[_Test]:
    since = [table.at >= c.since for c in criteria if c.since is not None]
    return since + [table.at < c.until for c in criteria if c.until is not None]


def _rare(connection: sa.Connection, table: Listed, criterion: Criterion) -> tuple[int, ...] | None:
    """Return the ids of the rows that meet the criterion, if an index finds them and they are few."""
    queries: list[Any] = [sa.select(table.id).where(stream) for stream in criterion.streams]
    if criterion.ids is not None:
        queries = [criterion.ids]
    if not queries:
        return None
    found: list[int] = []
    for query in queries:
        found += connection.execute(query.limit(RARE + 1)).scalars().all()
        if len(found) > RARE:
            return None
    return tuple(sorted(set(found)))


def _edges(connection: sa.Connection, table: Listed, criteria: Sequence[Criterion]) -> list[_Test]:
    """Return bounds of the id for the criteria's times, wide enough to lose no row."""
    edges: list[_Test] = []
    for criterion in criteria:
        if criterion.since is not None:
            edge = _first_id_from(connection, table, criterion.since - _SLACK)
            edges.append(sa.false() if edge is None else table.id >= edge)
        if criterion.until is not None:
            edge = _first_id_from(connection, table, criterion.until + table.lasts + _SLACK)
            if edge is not None:
                edges.append(table.id < edge)
    return edges


def _first_id_from(connection: sa.Connection, table: Listed, at: datetime) -> int | None:
    """Return the smallest id whose time is not before ``at``, by halving the range of ids.

    About twenty reads by primary key for a million rows; an index over the time would have to be
    kept up to date by every message that is sent.
    """
    low, high = connection.execute(
        sa.select(
            sa.select(sa.func.min(table.id)).scalar_subquery(),
            sa.select(sa.func.max(table.id)).scalar_subquery(),
        )
    ).one()
    if low is None:
        return None
    found = None
    while low <= high:
        row = connection.execute(
            sa.select(table.id, table.in_order)
            .where(table.id >= (low + high) // 2, table.id <= high)
            .order_by(table.id)
            .limit(1)
        ).first()
        if row is None:
            high = (low + high) // 2 - 1
        elif row[1] >= at:
            found, high = row[0], min(row[0] - 1, (low + high) // 2 - 1)
        else:
            low = row[0] + 1
    return found


# ---------------------------------------------------------------- the queries


def _walk(
    connection: sa.Connection,
    table: Listed,
    plan: _Plan,
    bound: tuple[_Test, ...],
    limit: int,
    *,
    upwards: bool = False,
) -> tuple[tuple[int, ...], int | None]:
    """Return up to ``limit`` ids, or all that a sifted walk finds and the id at which it ended."""
    order = table.id.asc() if upwards else table.id.desc()
    if plan.rare is not None:
        where = (_is_among(connection, table.id, plan.rare), *plan.tests, *plan.edges, *bound)
        query = sa.select(table.id).where(*where).order_by(order).limit(limit)
        return tuple(connection.execute(query).scalars()), None
    if not plan.tests:
        candidates = _candidates(table, plan, bound, limit, upwards=upwards)
        return tuple(row.id for row in connection.execute(candidates)), None
    found, edge = _sifted(connection, table, plan, bound, upwards=upwards)
    return tuple(found), edge


def _sifted(
    connection: sa.Connection,
    table: Listed,
    plan: _Plan,
    bound: tuple[_Test, ...],
    *,
    upwards: bool = False,
) -> tuple[list[int], int | None]:
    """Return the ids that pass the tests, of ``WINDOW`` rows at most.

    The second value is the id at which it ended, if there are more rows behind it.
    """
    walk = _candidates(table, plan, bound, WINDOW, upwards=upwards)
    rows = connection.execute(_tested(table, plan, walk, upwards=upwards)).all()
    found = [row.id for row in rows if row.passes]
    if not rows or rows[-1].walked < WINDOW:
        return found, None
    edge = rows[-1].id
    behind = table.id > edge if upwards else table.id < edge
    beyond = _candidates(table, plan, (*bound, behind), 1, upwards=upwards)
    return found, None if connection.execute(beyond).first() is None else edge


def _tested(
    table: Listed, plan: _Plan, walk: sa.Select[Any], *, upwards: bool
) -> sa.Select[tuple[int, bool, int]]:
    """Select those of a walk that pass the tests, and in any case its last, with how many it has.

    Each row is looked up by a subquery: a planner that joins a limited walk to its own table, or has
    the tests for a condition of the walk, may well read all of the table.
    """
    walked = walk.cte("walked")
    test = sa.select(sa.and_(*plan.tests)).where(table.id == walked.c.id).correlate(walked)
    tested = sa.select(walked.c.id, test.scalar_subquery().label("passes")).cte("tested")
    last = sa.select((sa.func.max if upwards else sa.func.min)(walked.c.id)).scalar_subquery()
    count = sa.select(sa.func.count()).select_from(walked).scalar_subquery()
    return (
        sa.select(tested.c.id, tested.c.passes, count.label("walked"))
        .where(sa.or_(tested.c.passes, tested.c.id == last))
        .order_by(tested.c.id.asc() if upwards else tested.c.id.desc())
    )


def _candidates(
    table: Listed,
    plan: _Plan,
    bound: tuple[_Test, ...],
    limit: int,
    *,
    upwards: bool = False,
) -> sa.Select[tuple[int]]:
    """Select up to ``limit`` ids of the walk: one stream's, or several merged by their order."""

    def ordered(column: Any, source: sa.Select[Any]) -> sa.Select[Any]:
        return source.order_by(column.asc() if upwards else column.desc()).limit(limit)

    branches = [
        ordered(table.id, sa.select(table.id.label("id")).where(stream, *plan.edges, *bound))
        for stream in plan.streams or (sa.true(),)
    ]
    if len(branches) == 1:
        return branches[0]
    # SQLite takes ORDER BY and LIMIT inside a UNION only where each branch is a subquery.
    merged = sa.union_all(*(sa.select(branch.subquery().c.id) for branch in branches)).subquery()
    return ordered(merged.c.id, sa.select(merged.c.id))


def _is_among(connection: sa.Connection, column: Any, ids: Sequence[int]) -> _Test:
    """Return the condition that a column is one of many numbers.

    A thousand parameters take longer to hand over than the rows take to be read.
    """
    among: _Test
    if connection.dialect.name == "postgresql":
        among = column == sa.any_(sa.literal(list(ids), sa.ARRAY(sa.BigInteger())))
    else:
        among = column.in_(sa.bindparam(None, list(ids), expanding=True, literal_execute=True))
    return among
