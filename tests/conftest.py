"""Fixtures for every test: the real servers, and fresh databases on them.

A server starts when the first test asks for it and serves all tests of the process; with xdist each
worker has its own. What a test gets is its own: a database, a Redis database, an SMTP sink.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from flask import Flask, current_app, has_app_context
from playwright.sync_api import Browser, Page

from flask_smtp_admin import SMTPAdmin
from flask_smtp_admin.core import EXTENSION_KEY, State
from tests.apps import Host, MakeApp, bare_app
from tests.servers.browser import Watch, launch, watched_page
from tests.servers.catchall import CatchAll
from tests.servers.exim import EximServer
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerMissing, skip_or_fail
from tests.servers.redis import RedisServer

# A loaded machine is slow at times, which says nothing about the code.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")

_redis_databases = count(1)


# ---------------------------------------------------------------- servers, one a process


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A shared Redis; not to be stopped or flushed: ``own_redis`` is for that."""
    try:
        server = RedisServer()
    except ServerMissing as missing:
        skip_or_fail(missing)
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except ServerMissing as missing:
        skip_or_fail(missing)
    with server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    try:
        server = MariaDBServer()
    except ServerMissing as missing:
        skip_or_fail(missing)
    with server:
        yield server


@pytest.fixture(scope="session")
def _exim_server() -> Iterator[EximServer]:
    try:
        server = EximServer()
    except ServerMissing as missing:
        skip_or_fail(missing)
    with server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; a test takes ``page``, or opens ``watched_page(browser, …)``."""
    try:
        with launch() as running:
            yield running
    except ServerMissing as missing:
        skip_or_fail(missing)


# ---------------------------------------------------------------- a test's own


@pytest.fixture
def exim(_exim_server: EximServer) -> Iterator[EximServer]:
    """A running Exim with an empty maildir; a test may stop it."""
    _exim_server.start()
    _exim_server.clear()
    yield _exim_server
    _exim_server.start()


@pytest.fixture
def catchall() -> Iterator[CatchAll]:
    """An SMTP server that takes everything and keeps a journal."""
    with CatchAll() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """The URL of an empty Redis database that no other test uses."""
    database = next(_redis_databases)
    yield redis_server.url(database)
    with redis_server.client(database) as client:
        client.flushdb()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis for this test alone, to be stopped, killed, flushed and started again."""
    try:
        server = RedisServer()
    except ServerMissing as missing:
        skip_or_fail(missing)
    with server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: MariaDBServer) -> Iterator[str]:
    with mariadb_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> Any:
    """The URL of an empty database: the test runs on SQLite, PostgreSQL and MariaDB."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def _watched(browser: Browser) -> Iterator[tuple[Page, Watch]]:
    with watched_page(browser) as watched:
        yield watched


@pytest.fixture
def page(_watched: tuple[Page, Watch]) -> Page:
    """A browser page; the test fails on a console error or a request that leaves loopback."""
    return _watched[0]


@pytest.fixture
def watch(_watched: tuple[Page, Watch]) -> Watch:
    """What ``page`` complains about; ``watch.allow("…")`` for what a test provokes."""
    return _watched[1]


# ---------------------------------------------------------------- host applications


@pytest.fixture(autouse=True)
def _no_context_is_left() -> Iterator[None]:
    """A test that leaves an application's context would have later ones run in it, commands say."""
    before = _present_app()
    yield
    after = _present_app()
    assert after is before, f"The test left the context of {after!r}."


def _present_app() -> Flask | None:
    proxy: Any = current_app
    return proxy._get_current_object() if has_app_context() else None


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Makes applications with ``SMTPAdmin``; keys of the configuration are its arguments.

    Without Flask-SQLAlchemy, so that each has an SQLite file of its own, and with the dispatch
    ``none``, so that nothing is delivered unless the test asks for it.
    """
    made: list[Flask] = []

    def make(**config: Any) -> Flask:
        app = bare_app(tmp_path / f"instance{len(made)}", **config)
        SMTPAdmin(app)
        made.append(app)
        return app

    yield make
    for app in made:
        state: State = app.extensions[EXTENSION_KEY]
        state.core.database.bare_engine.dispose()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with ``SMTPAdmin``; pytest-flask's ``client`` and context use it."""
    return make_app()


@pytest.fixture
def host(database_url: str, tmp_path: Path) -> Iterator[Host]:
    """An application with Flask-SQLAlchemy and a table, on each of the three databases."""
    made = Host(tmp_path / "instance", database_url)
    yield made
    made.close()
