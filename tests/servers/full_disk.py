"""A disk without room, as SQLite and PostgreSQL see it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

PAGE_BYTES = 4096


@contextmanager
def full_for_sqlite(engine: sa.Engine) -> Iterator[None]:
    """Have no file of this process grow beyond what the database's journal is now.

    Python ignores the signal that Linux sends, so that the write itself fails.
    """
    log = Path(f"{engine.url.database}-wal")
    # The other kind of journal is made anew by each transaction, and begins with a whole page.
    size = log.stat().st_size if log.exists() else PAGE_BYTES
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_for_postgres(engine: sa.Engine, event: str) -> Iterator[None]:
    """Have PostgreSQL say that its disk is full.

    :param event: when, as in ``INSERT ON smtp_admin_message``.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
            "'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER no_room BEFORE {event} FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP FUNCTION no_room CASCADE")
