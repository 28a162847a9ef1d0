"""The lanes of a connection share what was claimed for it, and nothing of it gets lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flask_smtp_admin import connections
from flask_smtp_admin.delivery import breaker, carriers, claim_in_one, supply
from flask_smtp_admin.delivery.breaker import Trouble
from flask_smtp_admin.delivery.crew import Crew
from flask_smtp_admin.delivery.journal import Journal
from flask_smtp_admin.delivery.lane import Lane
from flask_smtp_admin.delivery.lease import Leases
from flask_smtp_admin.delivery.patience import Patience
from flask_smtp_admin.delivery.rack import Rack
from flask_smtp_admin.delivery.seats import Seats
from flask_smtp_admin.delivery.supplies import Supplies
from flask_smtp_admin.delivery.supply import Handed, Place
from flask_smtp_admin.errors import OutboxUnavailable
from flask_smtp_admin.models import Connection, SessionHold
from tests.delivery.bench import Bench, a_bench
from tests.servers.catchall import CatchAll


class Counting(Patience):
    """Counts the transactions."""

    transactions = 0

    def _tried(self, *arguments: Any) -> Any:
        self.transactions += 1
        return super()._tried(*arguments)


FIRST = 10
"""Messages of the first claim for each lane, in these tests."""


@pytest.fixture(autouse=True)
def _more_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "FIRST_A_LANE", FIRST)


class Shop:
    """A connection with two sessions, and the supplies of a worker."""

    def __init__(self, bench: Bench, server: CatchAll) -> None:
        self.bench = bench
        self.number = bench.connection(server, max_sessions=2)
        self.leases = Leases(timedelta(seconds=45), 2.0)
        self.patience = Counting(bench.core.database, Crew(list))
        self.rack = Rack()
        self.supplies = Supplies(bench.core, self.leases, self.patience, Seats(self.rack))

    def join(self) -> Place:
        carrier = carriers.find(self.bench.core, self.number)
        assert carrier is not None
        place = self.supplies.join(carrier)
        place.offers()
        place.has_outcome()  # so that it is known to be fast
        return place

    def next(self, place: Place) -> Handed:
        handed = place.next()
        assert handed is not None
        return handed

    def holds(self) -> list[int]:
        return [row.sessions for row in self.bench.rows(SessionHold)]


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, catchall: CatchAll) -> Iterator[Shop]:
    """On SQLite, and on PostgreSQL, where lanes that are there claim in another way."""
    with a_bench(request.getfixturevalue(f"{request.param}_url")) as bench:
        made = Shop(bench, catchall)
        yield made
        for one in made.supplies.open():
            one.close()


@pytest.fixture
def postgres_shop(postgres_url: str, catchall: CatchAll) -> Iterator[Shop]:
    with a_bench(postgres_url) as bench:
        yield Shop(bench, catchall)


def test_lanes_share_one_claim(shop: Shop) -> None:
    numbers = [shop.bench.send() for _ in range(4)]
    one, other = shop.join(), shop.join()
    taken = [shop.next(place).message.id for place in (one, other, one, other)]
    assert taken == numbers
    assert shop.patience.transactions == 1
    assert one.next() is None
    assert shop.patience.transactions == 1, "the claim had found the last of them"
    assert shop.holds() == [2]


def test_what_is_urgent_passes_what_was_claimed_before_it(shop: Shop) -> None:
    places = [shop.join(), shop.join()]
    low = [shop.bench.send(priority="low") for _ in range(2 * FIRST + 3)]
    taken = [shop.next(places[0]).message.id for _ in range(2 * FIRST - 1)]
    high = shop.bench.send(priority="high")
    normal = [shop.bench.send() for _ in range(2)]

    taken += [shop.next(places[0]).message.id for _ in range(4)]

    rest = len(taken) - 4
    assert taken == [*low[:rest], high, *normal, low[rest]]


def test_a_lane_that_comes_later_looks_again(shop: Shop) -> None:
    shop.bench.send()
    one = shop.join()
    shop.next(one)
    late = shop.bench.send()
    assert one.next() is None
    assert shop.next(shop.join()).message.id == late


def test_what_is_reserved_comes_next_and_goes_back_with_its_lane(shop: Shop) -> None:
    numbers = [shop.bench.send() for _ in range(3)]
    one, other = shop.join(), shop.join()
    shop.next(one)
    reserved = one.reserve()
    assert reserved is not None
    assert one.reserve() is reserved
    assert shop.next(other).message.id == numbers[2]
    assert one.supply.leave(one) is None, "the other one is there yet"
    assert shop.next(other) is reserved


def test_a_lane_with_a_slow_server_reserves_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "SLOW_SECONDS", 0.0)
    for _ in range(2):
        shop.bench.send()
    place = shop.join()
    shop.next(place)
    place.offers()
    place.has_outcome()
    assert place.reserve() is None


def test_the_last_lane_gives_back_what_was_not_sent(shop: Shop) -> None:
    for _ in range(3):
        shop.bench.send()
    one, other = shop.join(), shop.join()
    handed = shop.next(one)
    other.next()
    assert one.supply.leave(one) is None
    leaving = other.supply.leave(other)
    assert leaving is not None
    assert leaving.leases == (handed.lease,)
    assert not other.supply.is_open
    assert other.supply.join() is None, "who comes now needs a new one"
    other.supply.close()
    assert shop.leases.messages() == {}


def test_nothing_is_given_back_when_all_is_done(shop: Shop) -> None:
    shop.bench.send()
    place = shop.join()
    place.supply.settled(*shop.next(place))
    leaving = place.supply.leave(place)
    assert leaving is not None
    assert leaving.leases == ()
    assert shop.leases.messages() == {}


def test_messages_whose_lease_has_ended_are_left_to_others(shop: Shop) -> None:
    numbers = [shop.bench.send() for _ in range(2)]
    place = shop.join()
    [lease] = [shop.next(place).lease]
    assert shop.leases.messages() == {lease.token: frozenset(numbers)}
    lease.renewed(asked_at=-1000.0)
    assert place.next() is None
    assert shop.leases.messages() == {lease.token: {numbers[0]}}, "the other is not to be renewed"


def test_a_stuck_lane_keeps_nothing_from_the_others(shop: Shop) -> None:
    for _ in range(3):
        shop.bench.send()
    stuck, other = shop.join(), shop.join()
    shop.next(stuck)
    reserved = stuck.reserve()
    stuck.offers()
    assert stuck.supply.take_from_the_stuck(-1.0) == []
    assert shop.next(other) is reserved


def test_a_lane_that_is_to_leave_and_stuck_makes_no_room(shop: Shop) -> None:
    place = shop.join()
    place.offers()
    assert place.supply.ask_to_leave(1) == 1
    assert place.supply.leaving_count(60.0) == 1
    assert place.supply.leaving_count(-1.0) == 0


def test_when_all_lanes_are_stuck_other_workers_get_the_rest(shop: Shop) -> None:
    numbers = [shop.bench.send() for _ in range(4)]
    one, other = shop.join(), shop.join()
    for place in (one, other):
        shop.next(place)
        place.offers()
    one.reserve()
    freed = one.supply.take_from_the_stuck(-1.0)
    assert [handed.message.id for handed in freed] == numbers[2:]
    assert one.supply.take_from_the_stuck(-1.0) == []


def test_there_are_no_more_lanes_than_the_connection_allows(shop: Shop) -> None:
    for _ in range(3):
        shop.bench.send()
    first = shop.join()
    shop.next(first)
    elsewhere = Shop.__new__(Shop)
    elsewhere.__dict__.update(
        shop.__dict__, supplies=Supplies(shop.bench.core, shop.leases, shop.patience, Seats(Rack()))
    )
    theirs, too_many = elsewhere.join(), elsewhere.join()
    assert theirs.next() is None
    assert theirs.is_admitted
    assert too_many.next() is None
    assert too_many.is_crowded_out
    assert sorted(shop.holds()) == [1, 1]


def test_a_connection_that_was_changed_gets_a_new_supply(shop: Shop) -> None:
    shop.bench.send()
    old = shop.join()
    now = shop.bench.clock()
    shop.bench.change(Connection, Connection.id == shop.number, caption="New", updated_at=now)
    new = shop.join()
    assert new.supply is not old.supply
    assert old.next() is None
    assert not old.is_crowded_out
    assert shop.next(new).message.sender == "shop@example.org"


def test_who_claims_stops_when_the_server_asks_for_a_pause(shop: Shop) -> None:
    for _ in range(FIRST + 5):
        shop.bench.send()
    before = shop.join()
    shop.next(before)
    quota = Trouble(stage="mail", reason="Too much for now.", quota=True)
    with shop.bench.core.database.write() as connection:
        breaker.note_failure(connection, shop.number, quota, shop.bench.clock())
    for _ in range(FIRST - 1):
        shop.next(before)
    assert before.next() is None
    before.supply.leave(before)
    assert shop.next(shop.join()), "who begins after it finds out whether it is over"


def test_lanes_go_on_with_what_there_is_while_one_of_them_claims(
    postgres_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = postgres_shop
    numbers = [shop.bench.send() for _ in range(2 * FIRST + 3)]
    places = [shop.join(), shop.join()]
    taken = [shop.next(places[0]).message.id for _ in range(2 * FIRST - 1)]
    claim, meanwhile = claim_in_one.claim_current, list[int]()

    def slowly(*values: Any, **more: Any) -> Any:
        meanwhile.append(shop.next(places[1]).message.id)
        return claim(*values, **more)

    monkeypatch.setattr(claim_in_one, "claim_current", slowly)
    taken.append(shop.next(places[0]).message.id)
    assert [*taken[:-1], *meanwhile, taken[-1]] == numbers[:-2]
    assert [shop.next(place).message.id for place in places] == numbers[-2:]
    assert [place.next() for place in places] == [None, None]


def test_a_claim_that_fails_is_no_claim_any_more(
    postgres_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = postgres_shop
    for _ in range(FIRST + 1):
        shop.bench.send()
    place = shop.join()
    leases = [shop.next(place).lease for _ in range(FIRST)]
    with monkeypatch.context() as patch:
        patch.setattr(claim_in_one, "claim_current", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.next()
    assert set(shop.leases.messages()) == {lease.token for lease in leases}
    assert shop.next(place), "it is tried again"


def test_two_claims_at_once_do_not_make_a_slow_server_look_fast(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies that come at the same moment: an urgent message would wait behind a hundred."""
    seconds = 0.0
    monkeypatch.setattr(supply, "time", SimpleNamespace(monotonic=lambda: seconds))
    one = shop.join().supply

    def size_after(passed: float, finished: int) -> int:
        nonlocal seconds
        seconds += passed
        one._finished += finished
        return one._size()

    assert size_after(1.0, 4) <= 5
    assert size_after(0.001, 1) <= 5
    assert size_after(1.0, 3) <= 5
    assert size_after(0.001, 1) <= 5
    assert [size_after(0.1, 50) for _ in range(3)][-1] == supply.BATCH


def test_a_lane_that_may_not_send_keeps_no_message(shop: Shop) -> None:
    bench = shop.bench
    numbers = [bench.send() for _ in range(3)]
    stuck, other = shop.join(), shop.join()
    shop.next(stuck)
    stuck.offers()
    connections.update(bench.core, shop.number, {"reply_timeout": 21})

    journal, rack = Journal(bench.core), Rack()
    lane = Lane(
        bench.core,
        other,
        crew=Crew(journal.write_all, ready=journal.ready),
        patience=shop.patience,
        rack=rack,
        worker="a test",
        stopping=lambda: False,
    )
    lane.run()
    rack.close()

    assert lane.sent_count == 0
    freed = stuck.supply.take_from_the_stuck(-1.0)
    assert [handed.message.id for handed in freed] == numbers[1:]


def test_a_lease_is_kept_as_long_as_one_of_its_messages_is_dealt_with(shop: Shop) -> None:
    for _ in range(2):
        shop.bench.send()
    one, other = shop.join(), shop.join()
    mine, theirs = shop.next(one), shop.next(other)
    one.supply.give_up(*mine)
    assert shop.leases.held() == [theirs.lease]
    assert theirs.lease.messages == {theirs.message.id}
    one.supply.settled(*theirs)
    assert shop.leases.held() == []


def test_what_could_not_be_released_is_still_there(shop: Shop) -> None:
    numbers = [shop.bench.send() for _ in range(3)]
    place = shop.join()
    shop.next(place)
    place.offers()
    freed = place.supply.take_from_the_stuck(-1.0)
    place.supply.not_released(freed)
    assert place.supply.take_from_the_stuck(-1.0) == freed
    place.supply.released(freed)
    [lease] = shop.leases.held()
    assert lease.messages == {numbers[0]}


@pytest.mark.parametrize("fault", ["none", "the database is away"])
def test_what_a_server_that_became_slow_will_not_get_soon_is_given_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    places = [shop.join(), shop.join()]
    low = [shop.bench.send(priority="low") for _ in range(2 * FIRST)]
    shop.next(places[0])
    high = shop.bench.send(priority="high")
    monkeypatch.setattr(supply, "STALE_SECONDS", -1.0)
    if fault != "none":
        monkeypatch.setattr(supply, "_release", refuse)
        assert shop.next(places[0]).message.id == low[1], "as good as before"
        assert shop.bench.statuses().count("sending") == 2 * FIRST
        rest = {shop.next(places[0]).message.id for _ in low[1:]}
        assert rest == {*low[2:], high}
        return
    taken = [shop.next(places[0]).message.id for _ in range(3)]
    assert high in taken
    assert shop.bench.statuses().count("queued") > 0
    assert shop.leases.messages() == under_leases(shop.bench)


def refuse(*_: object) -> None:
    raise OutboxUnavailable("away")


def under_leases(bench: Bench) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for row in bench.messages():
        if row.lease_token is not None:
            found.setdefault(row.lease_token, set()).add(row.id)
    return found
