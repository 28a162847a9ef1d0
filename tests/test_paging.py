"""Tests of paging: that it finds every row once, and that a large table costs no more."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import paging, search
from flask_smtp_admin.models import Base, Message, Status
from flask_smtp_admin.paging import Criterion
from flask_smtp_admin.search import ATTEMPTS, MESSAGES, Known
from tests import rows

KNOWN = Known(now=rows.later(days=30), connections={1: "Main"})
UNSENT = MESSAGES.statuses["unsent"]


def made(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    return engine


def criteria(text: str, *statuses: Status, language: search.Language = MESSAGES) -> list[Criterion]:
    read = search.read(text, language, KNOWN)
    assert not read.problems, read.problems
    wanted = statuses or read.statuses
    return [*([language.status_criterion(wanted)] if wanted else []), *read.criteria]


def walk_down(
    connection: sa.Connection, table: paging.Listed, wanted: list[Criterion], size: int
) -> list[int]:
    """Follow "older" from the first page to the last, and return every id met."""
    found: list[int] = []
    cursor: int | None = None
    for _ in range(10_000):
        page = paging.find(connection, table, wanted, before=cursor, size=size)
        found += page.ids
        if page.older is None:
            return found
        cursor = page.older
    raise AssertionError("the list has no end")


# ---------------------------------------------------------------- every row once


@pytest.fixture
def mixed(database_url: str) -> Iterator[sa.Engine]:
    """400 messages of mixed states and subjects."""
    engine = made(database_url)
    chance = random.Random(7)
    connection = rows.a_connection()
    rows.add(engine, connection)
    messages = [
        rows.a_message(
            f"user{chance.randrange(40)}@example.org",
            f"Copy{number}@Example.net",
            subject=chance.choice(["Order 1", "Your bill", "100% off_now"]),
            status=chance.choice(list(Status)),
            last_code=chance.choice([451, 550, None]),
            connection_id=connection.id if chance.random() < 0.5 else None,
            created_at=rows.later(hours=number),
        )
        for number in range(400)
    ]
    rows.add(engine, *messages)
    yield engine
    engine.dispose()


SEARCHES: list[tuple[str, Callable[[Any], bool]]] = [
    ("", lambda m: True),
    ("to:user1", lambda m: m.first_recipient.startswith("user1")),
    ("to:user1@example.org", lambda m: m.first_recipient == "user1@example.org"),
    ("to:USER1@", lambda m: m.first_recipient == "user1@example.org"),
    ("to:copy7@example.net", lambda m: m.id == 8),
    ("to:*7@example.net", lambda m: m.id % 10 == 8),
    ("status:held", lambda m: m.status is Status.HELD),
    ("status:held status:sent", lambda m: m.status in (Status.HELD, Status.SENT)),
    ("status:unsent", lambda m: m.status in UNSENT),
    ('subject:"Your bill"', lambda m: m.subject == "Your bill"),
    ("subject:100%", lambda m: m.subject == "100% off_now"),
    ("off_n", lambda m: m.subject == "100% off_now"),
    ("off%n", lambda m: False),
    ("code:451", lambda m: m.last_code == 451),
    ("code:5xx status:held", lambda m: m.last_code == 550 and m.status is Status.HELD),
    ("connection:Main", lambda m: m.connection_id is not None),
    (
        "connection:none to:user2",
        lambda m: m.connection_id is None and "user2" in m.first_recipient,
    ),
    ("before:2026-11-25", lambda m: m.created_at < rows.later(days=3, hours=-9)),
    (
        "after:2026-11-25 status:failed",
        lambda m: m.created_at >= rows.later(days=3, hours=-9) and m.status is Status.FAILED,
    ),
    (
        "after:2026-11-25 before:2026-11-26",
        lambda m: rows.later(days=3, hours=-9) <= m.created_at < rows.later(days=4, hours=-9),
    ),
    ("after:2027-11-25", lambda m: False),
    ("id:17", lambda m: m.id == 17),
]


@pytest.mark.parametrize(
    "limits", [(1000, 20_000), (0, 20_000), (0, 30)], ids=["rare", "walk", "sift"]
)
def test_each_row_is_found_once_in_order(
    mixed: sa.Engine, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    rare, window = limits
    monkeypatch.setattr(paging, "RARE", rare)
    monkeypatch.setattr(paging, "WINDOW", window)
    with mixed.connect() as connection:
        every = connection.execute(sa.select(Message.__table__).order_by(Message.id.desc())).all()
        for text, meets in SEARCHES:
            expected = [row.id for row in every if meets(row)]
            check_finds(connection, criteria(text), expected, text)


def check_finds(
    connection: sa.Connection, wanted: list[Criterion], expected: list[int], text: str
) -> None:
    assert walk_down(connection, MESSAGES.table, wanted, 40) == expected, text
    assert walk_up(connection, wanted, 40) == expected, text
    count = paging.count(connection, MESSAGES.table, wanted)
    assert count.number == len(expected) or (count.more and count.number <= len(expected)), text
    where, rest = paging.reach(connection, MESSAGES.table, wanted)
    acted = connection.execute(sa.select(Message.id).where(*where).order_by(Message.id.desc()))
    assert rest is None
    assert list(acted.scalars()) == expected, text


def walk_up(connection: sa.Connection, wanted: list[Criterion], size: int) -> list[int]:
    """Follow "newer" from below the last row to the first page, and return every id met."""
    pages: list[int] = []
    cursor = 0
    for _ in range(1_000):
        page = paging.find(connection, MESSAGES.table, wanted, after=cursor, size=size)
        if page.newer is None:
            # The first page is always shown full, so it may repeat rows of the page before.
            return [*page.ids, *(n for n in pages if n not in page.ids)] if page.ids else pages
        pages = [*page.ids, *pages]
        cursor = page.newer
    raise AssertionError("the list has no beginning")


def test_an_act_on_all_is_cut_where_it_would_be_too_much(
    mixed: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "RARE", 0)
    monkeypatch.setattr(paging, "ACT_LIMIT", 100)
    with mixed.connect() as connection:
        where, rest = paging.reach(connection, MESSAGES.table, [], up_to=300)
        acted = connection.execute(sa.select(Message.id).where(*where).order_by(Message.id.desc()))
        assert rest == 200
        assert list(acted.scalars()) == list(range(300, 200, -1))


def test_a_count_stops_at_its_bound(mixed: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "COUNT_LIMIT", 100)
    with mixed.connect() as connection:
        assert str(paging.count(connection, MESSAGES.table, [])) == "100+"
        assert str(paging.count(connection, MESSAGES.table, [], up_to=60)) == "60"


def test_a_quick_count_stops_early_and_looks_at_no_row_for_itself(
    mixed: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "QUICK_LIMIT", 100)
    word = [paging.Criterion(where=Message.subject.contains("7"))]
    with mixed.connect() as connection:
        assert str(paging.count_quickly(connection, MESSAGES.table, [])) == "100+"
        assert paging.count_quickly(connection, MESSAGES.table, word) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("after:2026-11-22T10:35", range(200, 94, -1)),
        ("before:2026-11-22T10:28", [100, *range(87, 0, -1)]),
    ],
)
def test_an_attempt_that_took_long_is_among_those_that_ended_with_it(
    database_url: str, text: str, found: list[int]
) -> None:
    """Number 100 began when 86 did; halving the range of ids begins with it."""
    engine = made(database_url)
    message = rows.a_message()
    rows.add(engine, message)
    ends = {number: rows.later(minutes=number) for number in range(1, 201)}
    begins = {**ends, 100: ends[86]}
    rows.add(
        engine,
        *(
            rows.an_attempt(message, id=number, started_at=begins[number], finished_at=ends[number])
            for number in ends
        ),
    )
    expected = [number for number in found if text.startswith("before") or number != 100]
    with engine.connect() as connection:
        wanted = criteria(text, language=ATTEMPTS)
        assert walk_down(connection, ATTEMPTS.table, wanted, 300) == expected
    engine.dispose()


# ---------------------------------------------------------------- the cost


PAGES: list[tuple[str, search.Language, dict[str, Any]]] = [
    ("", MESSAGES, {}),
    ("", MESSAGES, {"before": 3_000}),
    ("", MESSAGES, {"after": 3_000}),
    ("status:unsent", MESSAGES, {}),
    ("status:unsent", MESSAGES, {"before": 3_000}),
    ("status:held", MESSAGES, {}),
    ("to:user3077@", MESSAGES, {}),
    ('subject:"Order 3077"', MESSAGES, {}),
    ("status:unsent to:user3100@", MESSAGES, {}),
    ("id:3077", MESSAGES, {}),
    ("before:2026-11-22T09:10", MESSAGES, {}),
    ("after:2026-11-22T09:10 status:held", MESSAGES, {}),
    ("", ATTEMPTS, {"before": 3_000}),
    ("status:fail", ATTEMPTS, {}),
    ("to:user3077@", ATTEMPTS, {}),
    ("code:550", ATTEMPTS, {}),
    ("id:3077", ATTEMPTS, {}),
]
NAMES = [
    f"{'log' if language is ATTEMPTS else 'queue'} {text} {cursor}"
    for text, language, cursor in PAGES
]


@pytest.fixture(scope="module")
def small_and_large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sa.Engine, ...]]:
    """SQLite with 4,000 and with 40,000 messages."""
    folder = tmp_path_factory.mktemp("rows")
    engines = []
    for count in (4_000, 40_000):
        engine = made(f"sqlite:///{folder / str(count)}.sqlite")
        rows.fill(engine, count)
        engines.append(engine)
    yield tuple(engines)
    for engine in engines:
        engine.dispose()


@contextmanager
def counting_steps(connection: sa.Connection) -> Iterator[list[int]]:
    """Count the instructions of SQLite's machine in hundreds: the work, whatever the clock says."""
    steps = [0]

    def step() -> None:
        steps[0] += 1

    driver: Any = connection.connection.dbapi_connection
    driver.set_progress_handler(step, 100)
    yield steps
    driver.set_progress_handler(None, 0)


@pytest.mark.parametrize(("text", "language", "cursor"), PAGES, ids=NAMES)
def test_a_page_of_a_large_table_costs_what_one_of_a_small_one_does(
    small_and_large: tuple[sa.Engine, ...],
    text: str,
    language: search.Language,
    cursor: dict[str, Any],
) -> None:
    costs = []
    for engine in small_and_large:
        with engine.connect() as connection:
            wanted = criteria(text, language=language)
            with counting_steps(connection) as steps:
                page = paging.find(connection, language.table, wanted, **cursor)
            assert page.ids
            costs.append(steps[0])
    small, large = costs
    # Ten times the rows: a scan would take thousands of steps more. Looking up whether a
    # condition is rare, and halving the range of ids for a time, take some.
    assert large <= 2 * small + 200, f"{small} steps became {large}"


@pytest.fixture(scope="module")
def large_postgres(postgres_server: Any) -> Iterator[sa.Engine]:
    with postgres_server.database() as url:
        engine = made(url)
        rows.fill(engine, 40_000)
        yield engine
        engine.dispose()


def rows_touched(plan: dict[str, Any]) -> int:
    """Sum the rows that the nodes of a PostgreSQL plan gave or threw away."""
    loops = plan.get("Actual Loops", 1)
    own = sum(
        plan.get(key, 0)
        for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    )
    return int(own * loops) + sum(rows_touched(inner) for inner in plan.get("Plans", []))


@contextmanager
def explaining(engine: sa.Engine) -> Iterator[list[dict[str, Any]]]:
    """Collect PostgreSQL's measured plan of every SELECT that is executed meanwhile."""
    plans: list[dict[str, Any]] = []

    def explain(
        connection: sa.Connection, cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        with connection.connection.driver_connection.cursor() as own:  # type: ignore[union-attr]
            own.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            found = own.fetchone()[0]
        plans.append((found if isinstance(found, list) else json.loads(found))[0]["Plan"])

    sa.event.listen(engine, "after_cursor_execute", explain)
    yield plans
    sa.event.remove(engine, "after_cursor_execute", explain)


@pytest.mark.parametrize(("text", "language", "cursor"), PAGES, ids=NAMES)
def test_a_page_touches_few_rows_on_postgresql(
    large_postgres: sa.Engine, text: str, language: search.Language, cursor: dict[str, Any]
) -> None:
    wanted = criteria(text, language=language)
    with large_postgres.connect() as connection, explaining(large_postgres) as plans:
        page = paging.find(connection, language.table, wanted, **cursor)
    assert page.ids
    assert plans
    # 40,000 rows are there. A page is 51 of them, merged from a handful of streams and passed
    # through a few nodes; what is more has to be a rare set or the window, whose rows pass through
    # half a dozen.
    assert sum(map(rows_touched, plans)) < 7 * paging.WINDOW


def test_a_sifted_walk_stops_at_its_window(
    small_and_large: tuple[sa.Engine, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 500)
    wanted = criteria("reason:nothing-like-this")
    with small_and_large[1].connect() as connection:
        page = paging.find(connection, MESSAGES.table, wanted)
        assert page.ids == ()
        assert page.searched_to == page.older == 40_000 - 499
