"""One statement for many rows, compiled once.

Owns how a statement that a worker runs all day gets to the driver without being built, looked up
and compiled again each time. Must not know any table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Compiled:
    """The words of a statement for one dialect, and how its values are handed over.

    ``names`` is the order of the values where the driver takes them by position.
    """

    words: str
    names: tuple[str, ...] | None
    processors: Mapping[str, Callable[[Any], Any]]

    def values(self, row: Row) -> Any:
        ready = dict(row)
        for name, process in self.processors.items():
            ready[name] = process(ready[name])
        return ready if self.names is None else tuple(ready[name] for name in self.names)


class Bulk:
    """A statement whose values are all bound parameters.

    :param statement: of SQLAlchemy Core; every value a ``bindparam`` of its own name.
    :param returning: the same for PostgreSQL, whose driver does not tell the number of a new row.
    """

    def __init__(self, statement: ClauseElement, returning: ClauseElement | None = None) -> None:
        self._statement = statement
        self._returning = returning
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Execute it for each of ``rows``, which hold every parameter; return the rows changed.

        With one row the number is exact; with several it is the sum over them.
        """
        if not rows:
            return 0
        compiled = self._for(connection.dialect)
        values = [compiled.values(row) for row in rows]
        done = connection.exec_driver_sql(compiled.words, values if len(values) > 1 else values[0])
        return done.rowcount

    def first(self, connection: Connection, row: Row) -> Any:
        """Execute a SELECT with the parameters of ``row``; return its first row as it comes."""
        return self._execute(connection, row).first()

    def every(self, connection: Connection, row: Row) -> Sequence[Any]:
        """Execute a SELECT with the parameters of ``row``; return its rows as they come."""
        return self._execute(connection, row).all()

    def all(self, connection: Connection) -> Sequence[Any]:
        """Execute a SELECT without parameters; return its rows as they come."""
        return self._execute(connection, {}).all()

    def insert(self, connection: Connection, row: Row) -> int:
        """Execute an INSERT that returns its number where the database can; return the number."""
        done = self._execute(connection, row)
        return int(done.scalar_one() if done.returns_rows else done.lastrowid)

    def _execute(self, connection: Connection, row: Row) -> CursorResult[Any]:
        compiled = self._for(connection.dialect)
        return connection.exec_driver_sql(compiled.words, compiled.values(row))

    def _for(self, dialect: Dialect) -> _Compiled:
        key = f"{dialect.name}+{dialect.driver}"
        if key not in self._compiled:
            returns = self._returning is not None and dialect.name == "postgresql"
            statement = self._returning if returns else self._statement
            assert statement is not None
            self._compiled[key] = _compile(statement, dialect)
        return self._compiled[key]


def _compile(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    processors = {}
    for name, parameter in compiled.binds.items():
        assert parameter.required, f"{name} is a value in the statement; make it a parameter"
        process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if process is not None:
            processors[name] = process
    names = tuple(compiled.positiontup or ()) if compiled.positional else None
    return _Compiled(str(compiled), names, processors)
