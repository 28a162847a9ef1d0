"""Several lanes write in one transaction, and each hears of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flask_smtp_admin.delivery import carriers, claim, record
from flask_smtp_admin.delivery.journal import Entry, Journal, Written
from flask_smtp_admin.delivery.lease import Lease
from flask_smtp_admin.delivery.record import Begin, Carrier
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import Connection, Message
from tests.delivery.bench import Bench
from tests.servers.catchall import CatchAll

SECONDS = timedelta(seconds=45)


@pytest.fixture
def carrier(bench: Bench, catchall: CatchAll) -> Carrier:
    found = carriers.find(bench.core, bench.connection(catchall))
    assert found is not None
    return found


def an_entry(bench: Bench, carrier: Carrier, worker: str = "me", **more: Any) -> Entry:
    return Entry(carrier, worker, bench.clock(), 9, **more)


def test_what_lanes_want_written_is_written_in_one_transaction(
    bench: Bench, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(bench.core)
    groups: list[int] = []
    store = journal._store

    def counted(entries: Sequence[Entry]) -> list[Written]:
        groups.append(len(entries))
        return store(entries)

    monkeypatch.setattr(journal, "_store", counted)
    found = journal.write_all([an_entry(bench, carrier) for _ in range(5)])
    assert all(isinstance(one, Written) for one in found)
    assert groups == [5]


def test_an_entry_that_cannot_be_written_harms_only_itself(
    bench: Bench, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(bench.core)
    write_rows = Journal._write_rows

    def stumble(self: Journal, connection: Any, entries: Sequence[Entry]) -> Any:
        if "bad" in [entry.worker for entry in entries]:
            raise LookupError("a bug")
        return write_rows(self, connection, entries)

    monkeypatch.setattr(Journal, "_write_rows", stumble)
    entries = [an_entry(bench, carrier, name) for name in ("a", "b", "bad", "c")]
    found = journal.write_all(entries)
    assert [type(one) for one in found] == [Written, Written, LookupError, Written]


def test_a_database_that_is_away_is_told_to_all_of_them(
    bench: Bench, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(bench.core)

    def away(self: Journal, *args: Any) -> Any:
        raise OutboxUnavailable("away")

    monkeypatch.setattr(Journal, "_write_rows", away)
    found = journal.write_all([an_entry(bench, carrier) for _ in range(3)])
    assert [type(one) for one in found] == [OutboxUnavailable] * 3


def _claimed(bench: Bench, carrier: Carrier, lease: Lease) -> claim.Claimed:
    with bench.core.database.write() as connection:
        [found] = claim.claim(
            connection,
            carrier.id,
            limit=1,
            token=lease.token,
            now=bench.clock(),
            lease_until=bench.clock() + SECONDS,
        )
    return found


def test_a_message_that_was_taken_over_is_not_begun_and_its_neighbours_are(
    each_bench: Bench, catchall: CatchAll
) -> None:
    bench = each_bench
    carrier = carriers.find(bench.core, bench.connection(catchall))
    assert carrier is not None
    leases = [Lease(SECONDS, 2.0) for _ in range(3)]
    for _ in leases:
        bench.send()
    claimed = [_claimed(bench, carrier, lease) for lease in leases]
    bench.change(Message, Message.id == claimed[1].id, lease_token="another worker")

    entries = [
        an_entry(bench, carrier, following=message)
        for lease, message in zip(leases, claimed, strict=True)
    ]
    found = Journal(bench.core).write_all(entries)

    assert [getattr(one, "began", one) for one in found] == [True, False, True]
    assert bench.in_flight() == {claimed[0].id: leases[0].token, claimed[2].id: leases[2].token}


def test_a_commit_whose_answer_got_lost_leaves_one_mark_a_message(
    bench: Bench, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = [Lease(SECONDS, 2.0) for _ in range(3)]
    for _ in leases:
        bench.send()
    claimed = [_claimed(bench, carrier, lease) for lease in leases]
    journal = Journal(bench.core)
    store = journal._store

    def lose_the_answer(group: Sequence[Entry]) -> list[Written]:
        written = store(group)
        if len(group) > 1:
            raise OutboxUnavailable("the link broke after COMMIT")
        return written

    monkeypatch.setattr(journal, "_store", lose_the_answer)
    entries = [
        an_entry(bench, carrier, following=message)
        for lease, message in zip(leases, claimed, strict=True)
    ]
    lost = journal.write_all(entries)
    assert [type(one) for one in lost] == [OutboxUnavailable] * 3
    found = journal.write_all([replace(entry, again=True) for entry in entries])

    assert [getattr(one, "began", one) for one in found] == [True, True, True]
    assert sorted(bench.in_flight()) == [one.id for one in claimed]
    assert bench.attempts() == []


def test_only_a_mark_of_our_own_is_forgotten(bench: Bench, carrier: Carrier) -> None:
    bench.send()
    mine = _claimed(bench, carrier, Lease(SECONDS, 2.0))
    bench.change(Message, Message.id == mine.id, lease_token="theirs")
    theirs = replace(mine, lease_token="theirs")
    with bench.engine.begin() as connection:
        assert record.begin(connection, [Begin(theirs, carrier, "them")], bench.clock())
    with bench.engine.begin() as connection:
        record.forget(connection, mine)
    assert bench.in_flight() == {mine.id: "theirs"}
    with bench.engine.begin() as connection:
        record.forget(connection, theirs)
    assert bench.in_flight() == {}


def test_a_connection_that_was_switched_off_begins_nothing(bench: Bench, carrier: Carrier) -> None:
    bench.send()
    lease = Lease(SECONDS, 2.0)
    message = _claimed(bench, carrier, lease)
    bench.change(Connection, enabled=False)
    entry = an_entry(bench, carrier, following=message)
    [found] = Journal(bench.core).write_all([entry])
    assert isinstance(found, Written)
    assert found.began is None
    assert bench.in_flight() == {}


def test_a_changed_connection_and_a_lost_message_are_not_mixed_up(
    bench: Bench, catchall: CatchAll
) -> None:
    carrier_of = {}
    for caption in ("Off", "On"):
        carrier = carriers.find(bench.core, bench.connection(catchall, caption))
        assert carrier is not None
        carrier_of[caption] = carrier
    claimed = []
    for caption, carrier in carrier_of.items():
        bench.send(connection=caption)
        claimed.append(_claimed(bench, carrier, Lease(SECONDS, 2.0)))
    bench.change(Connection, Connection.caption == "Off", enabled=False)
    bench.change(Message, Message.id == claimed[1].id, lease_token="another worker")

    entries = [
        an_entry(bench, carrier, following=message)
        for carrier, message in zip(carrier_of.values(), claimed, strict=True)
    ]
    found = Journal(bench.core).write_all(entries)
    assert [getattr(one, "began", one) for one in found] == [None, False]


def test_who_interrupts_a_transaction_is_heard(
    bench: Bench, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(bench.core)
    tries: list[int] = []

    def interrupted(entries: Sequence[Entry]) -> list[Written]:
        tries.append(len(entries))
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "_store", interrupted)
    bench.send()
    message = _claimed(bench, carrier, Lease(SECONDS, 2.0))
    [found] = journal.write_all([an_entry(bench, carrier, following=message)])
    assert isinstance(found, KeyboardInterrupt)
    assert tries == [1]
