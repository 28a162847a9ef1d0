"""The states of a message: code and database draw the same table."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from enum import Enum

import pytest
import sqlalchemy as sa

from flask_smtp_admin.models import (
    FINAL,
    TRANSITIONS,
    UNSENT,
    AuthMechanism,
    Base,
    BreakerState,
    Encryption,
    Message,
    RecipientKind,
    RecipientStatus,
    Status,
)
from flask_smtp_admin.models.attempt import ENDED
from flask_smtp_admin.models.transition import move
from tests import rows

CHECKED: list[tuple[str, str, Iterable[Enum]]] = [
    ("message", "status", Status),
    ("recipient", "status", RecipientStatus),
    ("recipient", "kind", RecipientKind),
    ("attempt", "status", ENDED),
    ("connection", "encryption", Encryption),
    ("connection", "auth_mechanism", AuthMechanism),
    ("connection_health", "breaker", BreakerState),
]


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(database_url)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def test_the_database_checks_the_same_words_that_the_code_knows(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    for table, column, members in CHECKED:
        name = f"ck_smtp_admin_{table}_{column}"
        (check,) = (
            found
            for found in inspector.get_check_constraints(f"smtp_admin_{table}")
            if found["name"] == name
        )
        words = set(re.findall(r"'([^']*)'", check["sqltext"]))
        assert words == {member.value for member in members}, name


def test_the_database_refuses_another_word(engine: sa.Engine) -> None:
    rows.add(engine, rows.a_message())
    with pytest.raises(sa.exc.DatabaseError), engine.begin() as connection:
        connection.execute(sa.text("UPDATE smtp_admin_message SET status = 'lost'"))


@pytest.fixture
def sqlite() -> Iterator[sa.Engine]:
    made = sa.create_engine("sqlite://")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_every_step_is_allowed_or_refused_by_the_table(
    sqlite: sa.Engine, before: Status, after: Status
) -> None:
    rows.add(sqlite, rows.a_message(status=before))
    with sqlite.begin() as connection:
        if after in TRANSITIONS[before]:
            assert move(connection, after, from_={before}) == 1
            assert connection.scalar(sa.select(Message.status)) is after
        else:
            with pytest.raises(ValueError, match=f"cannot go from {before} to {after}"):
                move(connection, after, from_={before})
            assert connection.scalar(sa.select(Message.status)) is before


def test_a_row_that_somebody_else_changed_first_is_left_alone(sqlite: sa.Engine) -> None:
    rows.add(sqlite, rows.a_message(status=Status.SENDING, lease_token="theirs"))
    with sqlite.begin() as connection:
        ours = Message.lease_token == "ours"
        assert move(connection, Status.SENT, ours, from_={Status.SENDING}) == 0
        assert move(connection, Status.SENDING, from_={Status.QUEUED}) == 0
        assert connection.scalar(sa.select(Message.status)) is Status.SENDING


def test_the_sets_fit_the_table() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert set(Status) == FINAL | UNSENT
    assert not FINAL & UNSENT
    assert not any(TRANSITIONS[state] & {Status.SENDING} for state in FINAL)
    assert Status.SENT not in set().union(*(TRANSITIONS[s] for s in FINAL | {Status.QUEUED}))


def test_every_state_that_is_not_final_leads_to_an_end() -> None:
    for state in UNSENT:
        reached: set[Status] = {state}
        before: set[Status] = set()
        while reached != before:
            before = set(reached)
            reached = reached.union(*(TRANSITIONS[one] for one in before))
        assert Status.SENT in reached
        assert Status.FAILED in reached
