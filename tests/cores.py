"""A core on a database of a test's own, without any Flask application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin.config import Config
from flask_smtp_admin.core import Core, utc_now
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.database import Database
from flask_smtp_admin.models import Base
from flask_smtp_admin.signals import Event


class Heard:
    """What a core told the application: its events, and how often it rang for a worker."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1


@contextmanager
def a_core(
    url: str,
    *,
    keys: tuple[str, ...] = ("a key for tests",),
    now: Callable[[], datetime] = utc_now,
    **settings: Any,
) -> Iterator[tuple[Core, Heard]]:
    """A core with empty tables at ``url``; ``settings`` are ``SMTP_ADMIN_*`` keys in small letters."""
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    heard = Heard()
    mapping = {f"SMTP_ADMIN_{name.upper()}": value for name, value in settings.items()}
    core = Core(
        config=Config.from_mapping(mapping),
        database=Database(lambda: engine),
        keys=KeyRing(keys, refusal="" if keys else "No key is configured: set SECRET_KEY."),
        publish=heard.events.append,
        ring=heard.ring,
        after_commit=lambda act: act(),
        now=now,
    )
    try:
        yield core, heard
    finally:
        engine.dispose()
