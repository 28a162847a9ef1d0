"""The declarative base of the outbox tables.

Owns naming: every table is ``smtp_admin_…``, every constraint has a name that a migration can say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Constraint,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

from ..database import UTCDateTime

PREFIX = "smtp_admin_"

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

EVERY_LANGUAGE = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}
"""Options of every table: a database made with another character set would refuse a subject."""


class Base(DeclarativeBase):
    """The parent of every table class."""

    metadata = MetaData(naming_convention=NAMING)


def one_of(column: str, values: Iterable[Enum]) -> CheckConstraint:
    """Return the constraint that a column holds one of the values of an enumeration."""
    listed = ", ".join(f"'{member.value}'" for member in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def partial_index(*columns: str, where: str = "", unique: bool = False) -> Index:
    """Return an index of some of the rows, where the database can: fewer cost less to write.

    :param where: which ones. Default: those whose last column is not empty.
    """
    rows = text(where or f"{columns[-1]} IS NOT NULL")
    return Index(None, *columns, unique=unique, sqlite_where=rows, postgresql_where=rows)


class Word(TypeDecorator[Enum]):
    """An enumeration member, stored as its value; the CHECK constraint names the closed set.

    SQLAlchemy's own ``Enum`` would make a database type on PostgreSQL, which a later member
    cannot be added to inside a transaction.
    """

    impl = String
    cache_ok = True

    def __init__(self, members: type[Enum], length: int = 20) -> None:
        self.members = members
        self.length = length
        super().__init__(length)

    def process_bind_param(  # noqa: D102  (SQLAlchemy documents it)
        self, value: Enum | str | None, dialect: object
    ) -> str | None:
        if value is None:
            return None
        # Asking the enumeration takes longer than all else here.
        member = value if isinstance(value, self.members) else self.members(value)
        return str(member.value)

    def bind_processor(  # noqa: D102
        self, dialect: Dialect
    ) -> Callable[[Enum | str | None], str | None]:
        words = {member.name: str(member.value) for member in self.members}

        def process(value: Enum | str | None) -> str | None:
            if isinstance(value, self.members):
                return words[value._name_]  # a property of the enumeration takes six times as long
            return self.process_bind_param(value, dialect)

        return process

    def process_result_value(  # noqa: D102
        self, value: str | None, dialect: object
    ) -> Enum | None:
        return None if value is None else self.members(value)


def search_key(length: int) -> TypeEngine[str]:
    """Return the type of a text that is compared character by character, whatever the locale.

    Only then does an index answer "begins with": under a language's collation the order of texts
    does not follow their first characters.
    """
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def copy_tables(target: MetaData) -> dict[str, Table]:
    """Copy the outbox tables into another metadata, with types of SQLAlchemy alone.

    A migration that is generated from the copy needs no import of ours. Tables that are there
    already stay as they are.
    """
    copies = {}
    for table in Base.metadata.sorted_tables:
        if table.key not in target.tables:
            copy = table.to_metadata(target)
            for column in copy.columns:
                column.type = _plain(column.type)
            _name_alike(copy, table)
        copies[table.name] = target.tables[table.key]
    return copies


def _name_alike(copy: Table, table: Table) -> None:
    """Give what ``unique=True`` and ``index=True`` made the names it has here.

    A copy takes them from the naming convention of its own metadata, if that has any.
    """
    for of_copy, of_table in ((copy.constraints, table.constraints), (copy.indexes, table.indexes)):
        names = {_made_of(one): one.name for one in of_table}
        for one in of_copy:
            if isinstance(one, (UniqueConstraint, Index)):
                one.name = names[_made_of(one)]


def _made_of(part: Constraint | Index) -> tuple[type, tuple[str, ...]]:
    return type(part), tuple(column.key for column in getattr(part, "columns", ()))


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(type_, Word):
        return String(type_.length)
    if isinstance(type_, UTCDateTime):
        exact = mysql.DATETIME(fsp=6)
        return DateTime(timezone=True).with_variant(exact, "mysql", "mariadb")
    return type_
