"""Nine faults at thirteen steps, met by a worker: the server's journal against the database.

Whatever happens once, every message is delivered, due, held or given up with its reason; it counts
as sent if and only if the server took it and said so; no server gets it twice unless its answer was
lost; and the others are unaffected. All of it holds for a session that is alone in its thread and
for several that take turns in one.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from flask_smtp_admin.models import AttemptStatus, Encryption, Status
from flask_smtp_admin.models.states import FINAL
from tests.delivery.bench import Bench
from tests.servers.scripted import (
    FAULTS,
    PASSWORD,
    USERNAME,
    Accepted,
    Behaviour,
    Identity,
    ScriptedServer,
    Step,
    identity,
    leaving,
    say,
    taking,
)

MESSAGES = 5
ROUNDS = 15
"""Longer than the longest row of probes and retries that one fault can cause."""
REPLIES_LOST = {name: fault for name, fault in FAULTS.items() if name not in ("4xx", "5xx")}
"""After any of these at the final dot nobody can know whether the server took the message."""

Deliver = Callable[[Bench], object]


def alone(bench: Bench) -> None:
    """Deliver over one session, in the calling thread."""
    bench.work()


def together(bench: Bench) -> None:
    """Deliver over two sessions, which take turns in a thread, as workers do."""
    bench.worker(sessions=2).drain()


EITHER_WAY = pytest.mark.parametrize("deliver", [alone, together], ids=["alone", "together"])


@pytest.fixture(scope="module")
def certificate() -> Identity:
    return identity()


def connect(
    bench: Bench, server: ScriptedServer, certificate: Identity, deliver: Deliver = alone
) -> int:
    return bench.connection(
        server,
        host="localhost",
        encryption=Encryption.STARTTLS,
        ca_certificate=certificate.ca_pem,
        use_auth=True,
        username=USERNAME,
        password=PASSWORD,
        max_sessions=1 if deliver is alone else 2,
        connect_timeout=2,
        reply_timeout=1,
        final_timeout=1,
    )


def check(bench: Bench, server: ScriptedServer) -> None:
    """Compare what the server took with what the database says."""
    told = Counter(one.message_id for one in server.accepted if one.is_told)
    lost = {one.message_id for one in server.accepted if not one.is_told}
    for row in bench.messages():
        assert told.pop(row.message_id, 0) == (row.status == Status.SENT), (row.status, row.reason)
        if row.status in (Status.FAILED, Status.HELD):
            assert row.reason
        if row.status == Status.QUEUED:
            assert row.lease_until is None, "nobody has it in hand"
        lost.discard(row.message_id)
    assert not {*told, *lost}, "every copy has the Message-ID that was frozen"


def run(bench: Bench, server: ScriptedServer, deliver: Deliver = alone) -> None:
    """Deliver what is due, and pass the time until nothing is left."""
    for _ in range(ROUNDS):
        deliver(bench)
        check(bench, server)
        if all(row.status in {*FINAL, Status.HELD} for row in bench.messages()):
            return
        bench.clock.forward(minutes=11)
    raise AssertionError(f"never ended: {bench.statuses()}")


@EITHER_WAY
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", Step)
def test_one_fault_costs_at_most_the_message_that_met_it(
    step: Step, fault: str, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(step, FAULTS[fault])
        connection = connect(bench, server, certificate, deliver)
        for number in range(MESSAGES):
            bench.send(f"r{number}@example.org")

        run(bench, server, deliver)

        refused = fault == "5xx" and step in (Step.RCPT, Step.DATA, Step.BODY, Step.DOT)
        assert bench.statuses().count("sent") == MESSAGES - refused
        assert not bench.health(connection).failures, "the connection has recovered"


@EITHER_WAY
@pytest.mark.parametrize("fault", REPLIES_LOST)
def test_a_message_whose_answer_was_lost_goes_again_and_no_other_does(
    fault: str, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(Step.DOT, taking(FAULTS[fault]))
        connect(bench, server, certificate, deliver)
        for _ in range(MESSAGES):
            bench.send()

        run(bench, server, deliver)

        assert bench.statuses() == ["sent"] * MESSAGES
        copies = Counter(one.message_id for one in server.accepted)
        assert sorted(copies.values()) == [1] * (MESSAGES - 1) + [2]


@EITHER_WAY
@pytest.mark.parametrize("was_taken", [True, False], ids=["taken", "not taken"])
@pytest.mark.parametrize("fault", REPLIES_LOST)
def test_it_is_held_instead_if_it_must_not_go_twice(
    fault: str, was_taken: bool, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(Step.DOT, taking(FAULTS[fault]) if was_taken else FAULTS[fault])
        connect(bench, server, certificate, deliver)
        for _ in range(MESSAGES):
            bench.send(at_most_once=True)

        run(bench, server, deliver)

        assert sorted(bench.statuses()) == ["held"] + ["sent"] * (MESSAGES - 1)
        copies = Counter(one.message_id for one in server.accepted)
        assert set(copies.values()) == {1}
        assert len(copies) == MESSAGES - (not was_taken)


@EITHER_WAY
def test_a_kept_session_that_the_server_ends_costs_nothing(
    deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(Step.MAIL, None, None, leaving, None, None, leaving)
        connect(bench, server, certificate, deliver)
        for _ in range(5):
            bench.send()
        run(bench, server, deliver)
        assert bench.statuses() == ["sent"] * 5
        assert [row.attempts_count for row in bench.messages()] == [1] * 5


@EITHER_WAY
def test_a_mix_of_recipients_ends_with_each_as_the_server_said(
    deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        connect(bench, server, certificate, deliver)
        server.on(Step.RCPT, None, say("450 4.2.1 greylisted"), say("550 5.1.1 nobody"), None)
        number = bench.send(*(f"r{n}@example.org" for n in range(4)))
        deliver(bench)
        assert list(bench.recipients(number).values()) == ["sent", "pending", "failed", "sent"]
        bench.clock.forward(minutes=11)
        deliver(bench)
        assert bench.message(number).status == "partial"
        offered = [message.recipients for message in server.accepted]
        assert offered == [("r0@example.org", "r3@example.org"), ("r1@example.org",)]


@pytest.mark.parametrize(
    "reply", ["550 5.4.5 daily quota exceeded", "454 4.7.0 too many messages", "432 4.3.2 limit"]
)
def test_a_quota_pauses_the_connection_and_spends_nothing(
    reply: str, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.on(Step.MAIL, say(reply))
        connection = connect(bench, server, certificate)
        for _ in range(3):
            bench.send()
        bench.work()
        assert bench.health(connection).breaker == "paused"
        assert server.commands.count("DATA") <= 1
        run(bench, server)
        assert bench.statuses() == ["sent"] * 3
        assert [row.attempts_count for row in bench.messages()] == [1] * 3


@EITHER_WAY
@pytest.mark.parametrize("reply", ["251 will forward", "252 cannot verify", "299 what a day"])
def test_any_2xx_is_acceptance(
    reply: str, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate) as server:
        server.always(Step.DOT, taking(say(reply)))
        connect(bench, server, certificate, deliver)
        for _ in range(MESSAGES):
            bench.send()
        deliver(bench)
        assert bench.statuses() == ["sent"] * MESSAGES
        assert [row.attempts_count for row in bench.messages()] == [1] * MESSAGES
        copies = Counter(one.message_id for one in server.accepted)
        assert set(copies.values()) == {1}


# ---------------------------------------------------------------- anything, at any time

TROUBLE = 0.06
"""How likely it is that a step goes wrong."""
MEETINGS = 150
"""So many times a step may go wrong; then the server behaves."""
# Without those that wait, which cost a second each, and without a reset, which also takes back what
# the server has said before: its journal would not tell what the client knows.
AT_ONCE = ("close", "4xx", "5xx", "garbage", "long line", "endless")


def misbehave(server: ScriptedServer, dice: random.Random) -> None:
    """Have any step go wrong now and then."""
    for step in Step:
        server.on(step, *(_trouble(step, dice) for _ in range(MEETINGS)))


def _trouble(step: Step, dice: random.Random) -> Behaviour | None:
    if dice.random() > TROUBLE:
        return None
    fault = dice.choice(AT_ONCE)
    is_taken = step is Step.DOT and fault in REPLIES_LOST and dice.random() < 0.5
    return taking(FAULTS[fault]) if is_taken else FAULTS[fault]


def copies_by_recipient(server: ScriptedServer) -> dict[tuple[str, str], list[Accepted]]:
    """Return what each recipient of each Message-ID got, in order."""
    found: dict[tuple[str, str], list[Accepted]] = defaultdict(list)
    for one in server.accepted:
        for address in one.recipients:
            found[one.message_id, address].append(one)
    return found


@EITHER_WAY
@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_recipient_gets_what_the_database_says(
    seed: int, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    dice = random.Random(seed)
    with ScriptedServer(tls=certificate) as server:
        misbehave(server, dice)
        connect(bench, server, certificate, deliver)
        for number in range(40):
            to = [f"r{number}.{n}@example.org" for n in range(dice.randint(1, 3))]
            bench.send(*to, at_most_once=number % 10 == 0)

        for _ in range(60):
            deliver(bench)
            if all(row.status in {*FINAL, Status.HELD} for row in bench.messages()):
                break
            bench.clock.forward(hours=9)

        copies = copies_by_recipient(server)
        for row in bench.messages():
            check_message(row)
            for address, status in bench.recipients(row.id).items():
                check_recipient(row, status, copies.pop((row.message_id, address), []))
        assert not copies, "nobody got what was not for him"
        assert any(row.status == AttemptStatus.FAIL for row in bench.attempts()), "all went well"


def check_message(row: Any) -> None:
    assert row.status in {*FINAL, Status.HELD}
    assert row.reason or row.status == Status.SENT
    assert row.at_most_once or row.status != Status.HELD, row.reason


def check_recipient(row: Any, status: str, copies: list[Accepted]) -> None:
    told = [one.is_told for one in copies]
    assert (status == "sent") == any(told), "sent if and only if the server said so"
    assert not any(told[:-1]), "who was told so offers it no more"
    assert len(told) <= 1 or not row.at_most_once
    assert (status == "pending") <= (row.status == Status.HELD)
