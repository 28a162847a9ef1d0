"""What the buttons under messages send: an act, and which messages it is for.

Owns the reading of it. Must not know what an act does (:mod:`.acts`), nor how its buttons look:
they are spread over the rows of a table.
"""

from __future__ import annotations

from flask import abort
from wtforms import BooleanField, IntegerField, SelectField, SelectMultipleField
from wtforms.validators import NumberRange, Optional

from .acts import ACTS, Act
from .forms import PageForm, choices

LAST_ROW = 2**63 - 1
"""The greatest number that a row can have in the databases that we know."""


def row_number(text: str) -> int:
    """Return the number of a row.

    :raises ValueError: no row has such a number.
    """
    number = int(text)
    if not 0 < number <= LAST_ROW:
        raise ValueError(f"No row has the number {number}.")
    return number


class NumberField(IntegerField):
    """A number that a row or a count can have.

    ``NumberRange`` would turn it into a float, which has no room for 309 digits.
    """

    def process_formdata(self, valuelist: list[str]) -> None:
        """Read the digits; more of them than any of our numbers has are no number."""
        if valuelist and len(valuelist[0]) > len(str(LAST_ROW)):
            self.data = None
            raise ValueError("No row has a number of so many digits.")
        super().process_formdata(valuelist)


class ActForm(PageForm):
    """An act on one message.

    ``to`` is the connection that is to carry it, for the act ``move``.
    """

    act = SelectField(choices=choices(*((act.name, act.label) for act in ACTS.values())))
    to = NumberField(validators=[Optional(), NumberRange(1, LAST_ROW)])

    def read(self) -> Act:
        """Return the act; what no page of ours sends is answered with 400."""
        if not self.validate():
            abort(400)
        return ACTS[self.act.data]

    @property
    def lacks_target(self) -> bool:
        """Whether it is to move messages, and does not say where to."""
        return bool(self.act.data == "move" and self.to.data is None)


class SelectionForm(ActForm):
    """An act on the messages that are ticked, or on ``all`` that match up to the ``newest``.

    ``shown``: how many the question before deleting named.
    """

    id = SelectMultipleField(coerce=row_number, validate_choice=False)
    all = BooleanField()
    newest = NumberField(validators=[Optional(), NumberRange(0, LAST_ROW)])
    shown = NumberField(validators=[Optional(), NumberRange(0, LAST_ROW)])
    confirmed = BooleanField()
