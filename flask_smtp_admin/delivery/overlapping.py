"""Writing to PostgreSQL while the lanes of a crew go on.

Owns the one place where a driver waits for the server's answer, and who goes on meanwhile. Must not
know what is written. Other drivers cannot be waited for from outside; with them the crew stands
still while it is written.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy import Connection

from ..bulk import Runs
from ..direct import Direct
from ..smtp import READABLE, WRITABLE
from .crew import Crew

# What psycopg's generators ask for and are told, see its module "waiting": bit 1 to read, 2 to write.
_READ, _WRITE = 1, 2
_MARK = "_smtp_admin_wait"


def overlap(connection: Runs, crew: Crew[Any, Any]) -> None:
    """Have ``crew`` go on while ``connection`` waits for its server, if its driver is psycopg."""
    driver = _driver_connection(connection)
    if hasattr(driver, "pgconn") and getattr(driver, _MARK, None) is not crew:
        setattr(driver, _MARK, crew)
        # Weak, or else a connection would keep itself from being forgotten.
        driver.wait = _waiting(weakref.ref(driver), type(driver).wait, crew)


def _driver_connection(connection: Runs) -> Any:
    if isinstance(connection, Direct):
        return connection.driver_connection
    assert isinstance(connection, Connection)
    return connection.connection.driver_connection


def _waiting(
    found: Callable[[], Any], wait: Callable[..., Any], crew: Crew[Any, Any]
) -> Callable[..., Any]:
    """Return how the driver waits from now on: as before, except when the crew writes."""

    def waiting(generator: Generator[int, int, Any], *args: Any, **options: Any) -> Any:
        driver = found()
        if not crew.is_writing():
            return wait(driver, generator, *args, **options)
        return _take_turns(crew, driver, generator)

    return waiting


def _take_turns(crew: Crew[Any, Any], driver: Any, generator: Generator[int, int, Any]) -> Any:
    try:
        wanted = next(generator)
        while True:
            wanted = generator.send(_until_ready(crew, driver.pgconn.socket, wanted))
    except StopIteration as end:
        return end.value


def _until_ready(crew: Crew[Any, Any], number: int, wanted: int) -> int:
    events = (READABLE if wanted & _READ else 0) | (WRITABLE if wanted & _WRITE else 0)
    ready = crew.until_events(number, events)
    told = (_READ if ready & READABLE else 0) | (_WRITE if ready & WRITABLE else 0)
    # A connection that broke is ready for whatever was wanted: trying it says what happened.
    return told or wanted
