"""Stopped at a step until others have its messages, or the database restarted there."""

from __future__ import annotations

import pytest

from tests.crashing import drill, scene
from tests.crashing.forks import Forks
from tests.crashing.places import on_one, on_postgres
from tests.servers.postgres import PostgresServer

WHILE_IT_SENDS = [
    pytest.param("smtp.sending:Sending.run", id="before MAIL"),
    pytest.param("smtp.sending:Sending._may_finish", id="before the final dot"),
    pytest.param("delivery.decide:decide", id="after the reply"),
]


@pytest.mark.parametrize("function", WHILE_IT_SENDS)
def test_a_worker_that_was_stopped_past_its_lease_is_fenced(
    function: str, forks: Forks, database_url: str
) -> None:
    with on_one(database_url, scene.fill) as copies:
        assert drill.stop_of_delivery(forks, copies, forks.first_of(function))


@pytest.mark.parametrize("place", ["postgres", "mariadb"])
def test_one_that_was_stopped_before_it_writes_an_outcome_is_fenced(
    place: str, forks: Forks, request: pytest.FixtureRequest
) -> None:
    """Not on SQLite: a process that is stopped in a transaction keeps everybody from writing."""
    with on_one(request.getfixturevalue(f"{place}_url"), scene.fill) as copies:
        function = "delivery.record:finish"
        assert drill.stop_of_delivery(forks, copies, forks.first_of(function))


@pytest.mark.parametrize(
    "function",
    [
        pytest.param("delivery.claim:claim", id="at the claim"),
        pytest.param("delivery.record:begin", id="at the mark"),
        pytest.param("smtp.sending:Sending._may_finish", id="before the final dot"),
        pytest.param("delivery.record:finish", id="at the outcome"),
        pytest.param("delivery.claim:release", id="at the end"),
    ],
)
def test_a_database_that_is_restarted_costs_nothing(
    function: str, forks: Forks, postgres_server: PostgresServer
) -> None:
    with on_postgres(postgres_server, scene.fill) as copies:
        crash = drill.restart_of_database(postgres_server)
        assert crash(forks, copies, forks.first_of(function))
