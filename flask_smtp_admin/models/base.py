"""The declarative base of the outbox tables.

Owns naming: every table is ``smtp_admin_…``, every constraint has a name that a migration can say.
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy import CheckConstraint, MetaData, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

PREFIX = "smtp_admin_"

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The parent of every table class."""

    metadata = MetaData(naming_convention=NAMING)


def one_of(column: str, values: type[Enum]) -> CheckConstraint:
    """Return the constraint that a column holds one of the enumeration's values."""
    listed = ", ".join(f"'{member.value}'" for member in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Word(TypeDecorator[Enum]):
    """An enumeration member, stored as its value; the CHECK constraint names the closed set.

    SQLAlchemy's own ``Enum`` would make a database type on PostgreSQL, which a later member
    cannot be added to inside a transaction.
    """

    impl = String
    cache_ok = True

    def __init__(self, members: type[Enum], length: int = 20) -> None:
        self.members = members
        super().__init__(length)

    def process_bind_param(self, value: Enum | str | None, dialect: object) -> str | None:
        return None if value is None else str(self.members(value).value)

    def process_result_value(self, value: str | None, dialect: object) -> Enum | None:
        return None if value is None else self.members(value)
