"""The steps that messages took from one state to another, as the database itself saw them.

What a test reads between two acts is where a message is by then. A step that the table of states does
not have may be hidden in between, whoever made it.
"""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from flask_smtp_admin.models import Message, Status
from flask_smtp_admin.models.states import TRANSITIONS

_TABLE = "noted_step"
_NOTE = f"""
CREATE TRIGGER note_step AFTER UPDATE OF status ON {Message.__tablename__}
WHEN old.status <> new.status
BEGIN INSERT INTO {_TABLE} VALUES (old.status, new.status); END
"""


def note_steps(engine: sa.Engine) -> None:
    """Have an SQLite database note each step from now on."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {_TABLE} (old TEXT, new TEXT)")
        connection.exec_driver_sql(_NOTE)


def steps(engine: sa.Engine) -> Counter[tuple[Status, Status]]:
    """Return how often each step was taken."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT old, new FROM {_TABLE}")
        return Counter((Status(old), Status(new)) for old, new in rows)


def check_steps(engine: sa.Engine) -> None:
    """See that each step is one that the table of states has."""
    wrong = {step for step in steps(engine) if step[1] not in TRANSITIONS[step[0]]}
    assert not wrong, [f"from {old} to {new}" for old, new in wrong]
