"""Tests of delivery that ends when nothing is due: ``flask smtp-admin worker --burst``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_smtp_admin import worker
from flask_smtp_admin.dispatch.burst import deliver_due
from tests.delivery.bench import BRISK, Bench, a_bench
from tests.delivery.test_housekeeping import die_with
from tests.servers.catchall import CatchAll


@pytest.fixture
def bench(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(worker, "PACE", BRISK)
    with a_bench(sqlite_url) as made:
        yield made


def test_a_burst_takes_over_what_a_dead_worker_had_in_hand(
    bench: Bench, catchall: CatchAll
) -> None:
    number = bench.connection(catchall)
    flies = bench.send("ann@example.org")
    die_with(bench, number, flies)
    bench.clock.forward(seconds=46)
    bench.send("bob@example.org")

    said: list[str] = []
    assert deliver_due(bench.core, sessions=None, say=said.append) == 2
    assert [message.recipients[0] for message in catchall.messages] == [
        "bob@example.org",
        "ann@example.org",
    ], "what is due does not wait for it"
    [reason] = said
    assert "in 2 s they are taken back" in reason


def test_a_burst_does_not_wait_for_messages_that_others_deliver(
    bench: Bench, catchall: CatchAll
) -> None:
    number = bench.connection(catchall)
    flies = bench.send()
    die_with(bench, number, flies)
    bench.clock.forward(seconds=30)
    said: list[str] = []
    assert deliver_due(bench.core, sessions=None, say=said.append) == 0
    assert bench.statuses() == ["sending"]
    assert not said
