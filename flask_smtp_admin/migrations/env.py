"""How Alembic runs our revisions: over the connection that it is handed, in its transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import MetaData

from flask_smtp_admin.migrations import VERSION_TABLE
from flask_smtp_admin.models.base import NAMING, copy_tables

target = MetaData(naming_convention=NAMING)
copy_tables(target)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=target,
    version_table=VERSION_TABLE,
)
context.run_migrations()
