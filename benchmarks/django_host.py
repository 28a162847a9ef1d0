"""Django for its two contenders, with the settings that suit them best.

Owns the settings. Both get the durability that ours has: SQLite with WAL and ``synchronous=FULL``.
"""

from __future__ import annotations

from typing import Any

import django
import sqlalchemy as sa
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from benchmarks.message import SENDER

SQLITE_OPTIONS = {
    "timeout": 30,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}


def set_up(database: str, application: str, *, port: int = 25, **more: Any) -> None:
    """Configure Django with one application on the database with this SQLAlchemy URL."""
    settings.configure(
        SECRET_KEY="benchmarks",
        INSTALLED_APPS=[application],
        DATABASES={"default": _database(sa.make_url(database))},
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        DEFAULT_FROM_EMAIL=SENDER,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=True,
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        LOGGING={"version": 1, "disable_existing_loggers": False},
        **more,
    )
    django.setup()


def migrate() -> None:
    """Create the tables."""
    call_command("migrate", verbosity=0)


def warm_up() -> None:
    """Open the connection to the database."""
    connections["default"].ensure_connection()


def _database(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        engine = "django.db.backends.sqlite3"
        return {"ENGINE": engine, "NAME": url.database, "OPTIONS": SQLITE_OPTIONS}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.database,
        "USER": url.username,
        "HOST": url.host,
        "PORT": url.port,
        "CONN_MAX_AGE": None,
    }
