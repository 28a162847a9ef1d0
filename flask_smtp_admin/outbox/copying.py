"""Inserting many messages into PostgreSQL by COPY, with the driver psycopg.

Owns the rows in PostgreSQL's binary format. It takes a third of the server's time for INSERT and a
tenth of the client's. Must not know transactions, nor how one message alone is inserted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import sqlalchemy as sa

from ..bulk import Bulk, Row, Runs
from ..direct import Direct, translated
from ..models import Base, Message, MessageBody, Recipient
from .columns import ALIKE, GIVEN, PENDING
from .rows import New, bodies, recipients


def is_possible(connection: Runs) -> TypeGuard[Direct]:
    """Tell whether this connection can copy; SQLAlchemy's would not see the rows."""
    return isinstance(connection, Direct) and connection.dialect.driver == "psycopg"


def copy(connection: Direct, new: Sequence[New]) -> list[int]:
    """Insert messages with all their rows, and return their numbers."""
    numbers = [row[0] for row in _NUMBERS.every(connection, {"count": len(new)})]
    numbered = list(zip(numbers, new, strict=True))
    _MESSAGES.run(connection, ({**one.row, **ALIKE, "id": number} for number, one in numbered))
    _RECIPIENTS.run(
        connection,
        (
            {**row, "status": PENDING}
            for number, one in numbered
            for row in recipients(number, one.message)
        ),
    )
    _BODIES.run(
        connection, (row for number, one in numbered for row in bodies(number, one.message))
    )
    return numbers


_SEQUENCE = sa.func.pg_get_serial_sequence(
    *map(sa.literal_column, (f"'{Message.__tablename__}'", "'id'"))
)
_NUMBERS = Bulk(
    sa.select(sa.func.nextval(_SEQUENCE)).select_from(
        sa.func.generate_series(sa.literal_column("1"), sa.bindparam("count", type_=sa.Integer))
    )
)


class _Copy:
    """A COPY into some columns of a table."""

    def __init__(self, table: type[Base], *columns: str) -> None:
        self._columns = columns
        self._words = (
            f"COPY {table.__tablename__} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        )
        self._types = [table.__table__.columns[name].type for name in columns]

    def run(self, connection: Direct, rows: Iterable[Row]) -> None:
        """Copy ``rows``, whose values are as PostgreSQL's driver takes them.

        :raises DBAPIError: as SQLAlchemy does.
        """
        dialect = connection.dialect
        driver: Any = connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(self._words) as copying:
                copying.set_types([_name(one, dialect) for one in self._types])
                for row in rows:
                    copying.write_row([row[name] for name in self._columns])
        except dialect.loaded_dbapi.Error as error:
            raise translated(error, dialect, self._words) from error


def _name(type_: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    """The name of a type that says how its values look in the binary format."""
    return _NAMES.get(type_.compile(dialect), "text")


_NAMES = {
    "BIGINT": "int8",
    "INTEGER": "int4",
    "SMALLINT": "int2",
    "BOOLEAN": "bool",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "BYTEA": "bytea",
}
_MESSAGES = _Copy(Message, "id", *GIVEN, *ALIKE)
_RECIPIENTS = _Copy(Recipient, "message_id", "address", "address_key", "kind", "status")
_BODIES = _Copy(MessageBody, "message_id", "part", "content")
