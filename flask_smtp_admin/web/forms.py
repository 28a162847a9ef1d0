"""The fields of forms, as templates draw them.

Owns labels, help, what was typed and what is wrong with it. Must not know any rule: rules live
beside what they guard (:mod:`flask_smtp_admin.connections`), so that code and command line obey
them as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Choice:
    """One choice of a select or of radio buttons."""

    value: str
    label: str
    help: str = ""


@dataclass(frozen=True)
class Field:
    """One field.

    :param kind: ``text``, ``email``, ``number``, ``password``, ``lines`` (a text area),
        ``select``, ``radios`` or ``check``. A password's value is never drawn.
    :param unit: written behind the input, ``seconds`` for instance.
    :param width: ``short`` or ``medium`` for inputs whose content is; empty takes the column.
    :param attributes: further attributes of the input; ``True`` writes the name alone.
    """

    name: str
    label: str
    kind: str = "text"
    help: str = ""
    choices: tuple[Choice, ...] = ()
    unit: str = ""
    width: str = ""
    optional: bool = False
    rows: int = 3
    attributes: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    error: str = ""
    focus: bool = False

    @property
    def id(self) -> str:
        """The id of the input; errors link to it."""
        return f"field-{self.name}"


class Form:
    """Fields by name, filled with values and errors.

    :param values: what the inputs show; a name without a value is empty.
    :param errors: sentences by field name. The first field with one takes the focus.
    """

    def __init__(
        self,
        fields: Iterable[Field],
        values: Mapping[str, Any],
        errors: Mapping[str, str] | None = None,
    ) -> None:
        errors = errors or {}
        self._fields: dict[str, Field] = {}
        focused = False
        for blank in fields:
            error = errors.get(blank.name, "")
            focus = bool(error) and not focused
            focused = focused or focus
            self._fields[blank.name] = dataclasses.replace(
                blank, value=values.get(blank.name), error=error, focus=focus
            )

    def __getitem__(self, name: str) -> Field:
        return self._fields[name]

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """Id, label and sentence of each wrong field, in the order of the fields."""
        return [(f.id, f.label, f.error) for f in self._fields.values() if f.error]

    def any_wrong(self, *names: str) -> bool:
        """Tell whether one of the fields is wrong: a folded part of the form opens for it."""
        return any(self._fields[name].error for name in names)
