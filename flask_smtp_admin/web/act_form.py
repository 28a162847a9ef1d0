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


class ActForm(PageForm):
    """An act on one message.

    ``to`` is the connection that is to carry it, for the act ``move``.
    """

    act = SelectField(choices=choices(*((act.name, act.label) for act in ACTS.values())))
    to = IntegerField(validators=[Optional(), NumberRange(1, LAST_ROW)])

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
    newest = IntegerField(validators=[Optional(), NumberRange(0, LAST_ROW)])
    shown = IntegerField(validators=[Optional(), NumberRange(0, LAST_ROW)])
    confirmed = BooleanField()
