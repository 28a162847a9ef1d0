"""One statement for many rows, compiled once.

Owns how a statement that a worker runs all day gets to the driver without being built, looked up
and compiled again each time. Must not know any table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    CursorResult,
    Dialect,
    Text,
    any_,
    bindparam,
    cast,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

from .direct import Direct, Done

Row = Mapping[str, Any]
Runs: TypeAlias = Connection | Direct
"""What runs a statement: SQLAlchemy, or the driver alone."""


Process = Callable[[Any], Any]


@dataclass(frozen=True)
class _Compiled:
    """The words of a statement for one dialect, and how its values are handed over.

    ``values`` names each and says how it is made ready for the driver, in the order of the words;
    ``positional`` tells whether the driver takes them by that order or by name.
    """

    words: str
    values: tuple[tuple[str, Process | None], ...]
    positional: bool

    def ready(self, row: Row) -> Any:
        """The values of a row as the driver takes them."""
        if self.positional:
            return tuple(
                [row[name] if make is None else make(row[name]) for name, make in self.values]
            )
        return {name: row[name] if make is None else make(row[name]) for name, make in self.values}


class Bulk:
    """A statement whose values are all bound parameters.

    :param statement: of SQLAlchemy Core; every value a ``bindparam`` of its own name. Of a large one,
        what makes it when it is first needed: it would slow down the start of every application.
    :param returning: the same for PostgreSQL, whose driver does not tell the number of a new row.
    :param often: for PostgreSQL: it is a large one that is run again and again. The server prepares it
        at once, but plans it anew at times: it would keep a plan that was made for empty tables until
        somebody analyses them, however fast they grow.
    """

    def __init__(
        self,
        statement: ClauseElement | Callable[[], ClauseElement],
        returning: ClauseElement | None = None,
        *,
        often: bool = False,
    ) -> None:
        self._statement = statement
        self._returning = returning
        self._often = often
        self._runs = 0
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Runs, rows: Sequence[Row]) -> int:
        """Execute it for each of ``rows``, which hold every parameter; return the rows changed.

        With one row the number is exact; with several it is the sum over them.
        """
        if not rows:
            return 0
        compiled = self._for(connection.dialect)
        values = [compiled.ready(row) for row in rows]
        done = connection.exec_driver_sql(compiled.words, values if len(values) > 1 else values[0])
        return done.rowcount

    def first(self, connection: Runs, row: Row) -> Any:
        """Execute a SELECT with the parameters of ``row``; return its first row as it comes."""
        return self._execute(connection, row).first()

    def every(self, connection: Runs, row: Row) -> Sequence[Any]:
        """Execute a SELECT with the parameters of ``row``; return its rows as they come."""
        return self._execute(connection, row).all()

    def all(self, connection: Runs) -> Sequence[Any]:
        """Execute a SELECT without parameters; return its rows as they come."""
        return self._execute(connection, {}).all()

    def insert(self, connection: Runs, row: Row) -> int:
        """Execute an INSERT that returns its number where the database can; return the number."""
        done = self._execute(connection, row)
        return int(done.scalar_one() if done.returns_rows else done.lastrowid)

    def _execute(self, connection: Runs, row: Row) -> CursorResult[Any] | Done:
        compiled = self._for(connection.dialect)
        values = compiled.ready(row)
        if not self._often:
            return connection.exec_driver_sql(compiled.words, values)
        words = self._in_other_words(compiled.words)
        if isinstance(connection, Direct):
            return connection.exec_driver_sql(words, values, often=True)
        return connection.exec_driver_sql(words, values)

    def _in_other_words(self, words: str) -> str:
        """Return a statement that differs whenever there were sixteen times as many runs as before."""
        self._runs += 1
        return f"{words} /* {self._runs.bit_length() // 4} */"

    def _for(self, dialect: Dialect) -> _Compiled:
        key = f"{dialect.name}+{dialect.driver}"
        if key not in self._compiled:
            returns = self._returning is not None and dialect.name == "postgresql"
            statement = self._returning if returns else self._statement
            assert statement is not None
            made = statement if isinstance(statement, ClauseElement) else statement()
            self._compiled[key] = _compile(made, dialect)
        return self._compiled[key]


def is_among(column: InstrumentedAttribute[Any], parameter: str) -> ColumnElement[bool]:
    """Return the condition that a column is one of the numbers of an :func:`array_of`, on PostgreSQL."""
    # By way of a subquery, the server does not see how many numbers there are. It would take a plan
    # for so many to be better than one for any, and plan each time, which costs half of the rest.
    array = ARRAY(BigInteger())
    read = cast(bindparam(parameter, type_=Text()), array)  # once, and not for each row
    is_one: ColumnElement[bool] = column == any_(cast(select(read).scalar_subquery(), array))
    return is_one


def array_of(numbers: Iterable[int]) -> str:
    """Return the value of a parameter of :func:`is_among`, in PostgreSQL's words for an array."""
    # The driver's own way from a list takes several times as long.
    return f"{{{','.join(map(str, numbers))}}}"


def _compile(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    processors: dict[str, Process | None] = {}
    for name, parameter in compiled.binds.items():
        assert parameter.required, f"{name} is a value in the statement; make it a parameter"
        processors[name] = _processor(parameter.type, dialect)
    positional = bool(compiled.positional)
    names = (compiled.positiontup or ()) if positional else processors
    return _Compiled(str(compiled), tuple((name, processors[name]) for name in names), positional)


def _processor(type_: TypeEngine[Any], dialect: Dialect) -> Process | None:
    if isinstance(type_, Boolean):
        return None  # every driver takes True and False as they are
    return type_.dialect_impl(dialect).bind_processor(dialect)
