"""What is tried again while the database is away, and never in the way of what is being written."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_smtp_admin.database import COLLISIONS, Collision
from flask_smtp_admin.delivery import patience
from flask_smtp_admin.delivery.crew import Crew
from flask_smtp_admin.delivery.lease import Lease
from flask_smtp_admin.delivery.patience import Patience
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.smtp import READABLE
from tests.delivery.bench import Bench

LONG = timedelta(seconds=60)


def test_claiming_is_tried_a_few_times(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN_AFTER", 0)
    tries: list[int] = []

    def fail(_: object) -> None:
        tries.append(1)
        raise OutboxUnavailable("away")

    patient = Patience(bench.core.database, Crew(list))
    for act in (patient, patient.rows):
        with pytest.raises(OutboxUnavailable):
            act(fail)
    assert len(tries) == 2 * patience.CLAIM_TRIES


def test_claiming_is_tried_more_often_when_others_are_in_the_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SOON", 0)
    monkeypatch.setattr(patience, "AGAIN_AFTER", 0)
    tries: list[int] = []

    def fail(_: object) -> None:
        tries.append(1)
        raise Collision("in the way") if len(tries) > 1 else OutboxUnavailable("away")

    with pytest.raises(Collision):
        Patience(bench.core.database, Crew(list))(fail)
    assert len(tries) == patience.CLAIM_TRIES - 1 + COLLISIONS


def test_what_is_known_is_tried_until_the_lease_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "AGAIN_AFTER", 0)
    lease = Lease(LONG, 2.0)
    tries: list[int] = []

    def fail(_: sa.Connection) -> None:
        tries.append(1)
        if len(tries) == 5:
            lease.renewed(asked_at=-1000.0)
        raise OutboxUnavailable("away")

    with pytest.raises(OutboxUnavailable):
        Patience(bench.core.database, Crew(list)).until_end_of(lease, fail)
    assert len(tries) == 5


def test_it_waits_for_what_is_being_written(bench: Bench) -> None:
    """Whose transaction may have the last connection of the pool, and goes on in the same thread."""
    ours, theirs = socket.socketpair()
    order: list[str] = []

    def write_all(wishes: Sequence[str]) -> list[str | BaseException]:
        crew.start(reads)
        crew.until_events(ours.fileno(), READABLE)
        order.append("written")
        return list(wishes)

    crew: Crew[str, str] = Crew(write_all)

    @contextmanager
    def noted() -> Iterator[sa.Connection]:
        order.append("read")
        with bench.engine.connect() as connection:
            yield connection

    database = bench.core.database
    database.write = noted  # type: ignore[method-assign]
    patient = Patience(database, crew)

    def reads() -> None:
        theirs.send(b".")
        patient.until_end_of(Lease(LONG, 2.0), lambda _: None)

    with ours, theirs:
        crew.start(lambda: crew.write("an outcome"))
        crew.join()
    assert order == ["written", "read"]
