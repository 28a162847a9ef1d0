"""Nine faults at thirteen steps, met by a worker: the server's journal against the database.

Whatever happens once, every message is delivered, due, held or given up with its reason; it counts
as sent if and only if the server took it and said so; no server gets it twice unless its answer was
lost; and the others are unaffected. All of it holds for a session that is alone in its thread and
for several side by side, which take turns in one.
"""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from flask_smtp_admin import outbox, worker
from flask_smtp_admin.connections import session_for
from flask_smtp_admin.delivery import link
from flask_smtp_admin.models import AttemptStatus, Encryption, Message, Status
from flask_smtp_admin.models.states import FINAL
from flask_smtp_admin.smtp import Session, Waiter
from tests.delivery.bench import Bench
from tests.delivery.steps import check_steps, note_steps
from tests.servers.scripted import (
    FAULTS,
    PASSWORD,
    USERNAME,
    Accepted,
    Behaviour,
    Identity,
    Peer,
    ScriptedServer,
    Step,
    identity,
    leaving,
    say,
    take_recipient_saying,
    take_saying,
    taking,
)

T = TypeVar("T")

MESSAGES = 5
ROUNDS = 15
"""Longer than the longest row of probes and retries that one fault can cause."""
REPLIES_LOST = {name: fault for name, fault in FAULTS.items() if name not in ("4xx", "5xx")}
"""After any of these at the final dot nobody can know whether the server took the message."""
WAITING = ("silence", "drip")
"""The faults that end with a time-out of ours."""

Deliver = Callable[[Bench], object]


def alone(bench: Bench) -> None:
    """Deliver over one session, in the calling thread."""
    bench.work()


def together(bench: Bench) -> None:
    """Deliver over two sessions, which take turns in a thread, as workers do."""
    bench.worker(sessions=2).drain()


SESSIONS: dict[Deliver, int] = {alone: 1, together: 2}
EITHER_WAY = pytest.mark.parametrize("deliver", [alone, together], ids=["alone", "together"])


@pytest.fixture(scope="module")
def certificate() -> Identity:
    return identity()


# ---------------------------------------------------------------- two sessions, and no waiting


class Impatience:
    """Ends the wait for a server that has begun to keep its client waiting, and no other.

    It goes by how often the client has looked since. What was said before is there at the first
    look, so that no server is given up for being slow on a loaded machine, as it would be with
    time-outs that are short.
    """

    LOOKS, SECONDS = 12, 0.01
    """More looks than replies can be on their way when the wait begins; and for each, so long."""

    def __init__(self) -> None:
        self._looks_left: dict[int, int] = {}
        """By the port of the client whose server keeps silent."""

    def with_(self, behaviour: Behaviour) -> Behaviour:
        """Return the behaviour, whose beginning is noted."""

        def noted(peer: Peer) -> None:
            self._looks_left[peer.sock.getpeername()[1]] = self.LOOKS
            behaviour(peer)

        return noted

    def session_for(self, driver: str, endpoint: Any, waiter: Waiter) -> Session:
        """Make a session that waits like any other, but for this."""
        return session_for(driver, endpoint, ImpatientWaiter(self, waiter))

    def looks(self, sock: socket.socket) -> bool:
        """Tell whether the client may look once more."""
        port = sock.getsockname()[1]
        if self._looks_left.get(port) == 0:
            del self._looks_left[port]
            return False
        if port in self._looks_left:
            self._looks_left[port] -= 1
        return True


class ImpatientWaiter:
    """What a session waits with: in short looks, which can come to an end."""

    def __init__(self, impatience: Impatience, waiter: Waiter) -> None:
        self._impatience = impatience
        self._waiter = waiter

    def until_ready(self, sock: socket.socket, seconds: float, *, to_write: bool) -> bool:
        for _ in range(int(seconds / Impatience.SECONDS) + 1):
            if not self._impatience.looks(sock):
                return False
            if self._waiter.until_ready(sock, Impatience.SECONDS, to_write=to_write):
                return True
        return False

    def aside(self, act: Callable[[], T]) -> T:
        return self._waiter.aside(act)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> Impatience:
    made = Impatience()
    monkeypatch.setattr(link, "session_for", made.session_for)
    # Or else so few messages would all go over one session.
    monkeypatch.setattr(worker, "MESSAGES_A_LANE", 1)
    return made


def quick(fault: str, impatience: Impatience) -> Behaviour:
    """Return a fault whose client need not wait for long."""
    behaviour = FAULTS[fault]
    return impatience.with_(behaviour) if fault in WAITING else behaviour


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
        max_sessions=SESSIONS[deliver],
        connect_timeout=30,
        reply_timeout=30,
        final_timeout=30,
    )


def check(bench: Bench, server: ScriptedServer) -> None:
    """Compare what the server took with what the database says."""
    told = Counter(one.message_id for one in server.accepted if one.is_told)
    lost = {one.message_id for one in server.accepted if not one.is_told}
    for row in bench.messages():
        assert told.pop(row.message_id, 0) == (row.status == Status.SENT), (row.status, row.reason)
        if row.status != Status.SENT and row.last_attempt_at:
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


def check_tries(bench: Bench, *, afflicted: int = 1) -> None:
    """See that no more messages than so many have spent a second try."""
    tries = sorted(row.attempts_count for row in bench.messages())
    assert tries[: MESSAGES - afflicted] == [1] * (MESSAGES - afflicted)
    assert all(number <= 2 for number in tries)


def send_to_each(bench: Bench, *, at_most_once: bool = False) -> None:
    """Send one message to each of so many recipients."""
    for number in range(MESSAGES):
        bench.send(f"r{number}@example.org", at_most_once=at_most_once)


@EITHER_WAY
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", Step)
def test_one_fault_costs_at_most_the_message_that_met_it(
    step: Step,
    fault: str,
    deliver: Deliver,
    certificate: Identity,
    bench: Bench,
    impatience: Impatience,
) -> None:
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        server.on(step, quick(fault, impatience))
        connection = connect(bench, server, certificate, deliver)
        send_to_each(bench)

        run(bench, server, deliver)

        assert server.gathered >= SESSIONS[deliver]
        refused = fault == "5xx" and step in (Step.RCPT, Step.DATA, Step.BODY, Step.DOT)
        assert bench.statuses().count("sent") == MESSAGES - refused
        assert len(server.accepted) == MESSAGES - refused
        check_tries(bench)
        assert not bench.health(connection).failures, "the connection has recovered"


@EITHER_WAY
@pytest.mark.parametrize("fault", REPLIES_LOST)
def test_a_message_whose_answer_was_lost_goes_again_and_no_other_does(
    fault: str, deliver: Deliver, certificate: Identity, bench: Bench, impatience: Impatience
) -> None:
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        server.on(Step.DOT, taking(quick(fault, impatience)))
        connection = connect(bench, server, certificate, deliver)
        send_to_each(bench)

        run(bench, server, deliver)

        assert server.gathered >= SESSIONS[deliver]
        assert bench.statuses() == ["sent"] * MESSAGES
        copies = Counter(one.message_id for one in server.accepted)
        assert sorted(copies.values()) == [1] * (MESSAGES - 1) + [2]
        assert len({(one.message_id, one.content) for one in server.accepted}) == MESSAGES
        check_tries(bench)
        assert not bench.health(connection).failures, "the connection has recovered"


@EITHER_WAY
@pytest.mark.parametrize("was_taken", [True, False], ids=["taken", "not taken"])
@pytest.mark.parametrize("fault", REPLIES_LOST)
def test_it_is_held_instead_if_it_must_not_go_twice(
    fault: str,
    was_taken: bool,
    deliver: Deliver,
    certificate: Identity,
    bench: Bench,
    impatience: Impatience,
) -> None:
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        behaviour = quick(fault, impatience)
        server.on(Step.DOT, taking(behaviour) if was_taken else behaviour)
        connect(bench, server, certificate, deliver)
        send_to_each(bench, at_most_once=True)

        run(bench, server, deliver)

        assert server.gathered >= SESSIONS[deliver]
        assert sorted(bench.statuses()) == ["held"] + ["sent"] * (MESSAGES - 1)
        [held] = [row for row in bench.messages() if row.status == Status.HELD]
        assert "It may have arrived" in held.reason
        copies = Counter(one.message_id for one in server.accepted)
        assert set(copies.values()) == {1}
        assert len(copies) == MESSAGES - (not was_taken)
        check_tries(bench, afflicted=0)


@EITHER_WAY
def test_what_is_held_as_uncertain_goes_again_if_a_person_wants_it(
    deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        server.on(Step.DOT, taking(FAULTS["close"]))
        connect(bench, server, certificate, deliver)
        for _ in range(MESSAGES):
            bench.send(at_most_once=True)
        run(bench, server, deliver)

        bench.clock.forward(minutes=11)  # the connection may be tried again by then
        assert outbox.release(bench.core, Message.status == Status.HELD) == 1
        run(bench, server, deliver)

        assert bench.statuses() == ["sent"] * MESSAGES
        copies = Counter(one.message_id for one in server.accepted)
        assert sorted(copies.values()) == [1] * (MESSAGES - 1) + [2]


@EITHER_WAY
def test_a_kept_session_that_the_server_ends_costs_nothing(
    deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        server.when(Step.MAIL, lambda peer: peer.taken > 0, leaving, times=2)
        connect(bench, server, certificate, deliver)
        for _ in range(3 * MESSAGES):
            bench.send()
        run(bench, server, deliver)
        assert server.gathered >= SESSIONS[deliver]
        assert server.sessions >= 3, "some were ended"
        assert bench.statuses() == ["sent"] * 3 * MESSAGES
        assert [row.attempts_count for row in bench.messages()] == [1] * 3 * MESSAGES
        assert [row.status for row in bench.attempts()] == [AttemptStatus.SUCCESS] * 3 * MESSAGES


def named(word: str) -> Callable[[Peer], bool]:
    """Concern the command that has the word in it."""
    return lambda peer: word in peer.command


@EITHER_WAY
def test_a_mix_of_recipients_ends_with_each_as_the_server_said(
    deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    greylisted, unknown = say("450 4.2.1 greylisted"), say("550 5.1.1 nobody")
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        connect(bench, server, certificate, deliver)
        for number in range(MESSAGES):
            server.when(Step.RCPT, named(f"<grey{number}@"), greylisted, times=2)
        server.when(Step.RCPT, named("<nobody"), unknown, times=1000)
        names = ("ann", "grey", "nobody", "bob")
        numbers = [
            bench.send(*(f"{name}{number}@example.org" for name in names))
            for number in range(MESSAGES)
        ]
        plain = bench.send("eve@example.org")

        for grey in ("pending", "pending", "sent"):
            deliver(bench)
            for number in numbers:
                found = list(bench.recipients(number).values())
                assert found == ["sent", grey, "failed", "sent"]
                assert bench.message(number).reason
            bench.clock.forward(minutes=11)

        assert server.gathered >= SESSIONS[deliver]
        assert bench.statuses() == ["partial"] * MESSAGES + ["sent"]
        assert bench.message(plain).attempts_count == 1
        offered = Counter(message.recipients for message in server.accepted)
        assert offered == Counter(
            [
                ("eve@example.org",),
                *((f"ann{n}@example.org", f"bob{n}@example.org") for n in range(MESSAGES)),
                *((f"grey{n}@example.org",) for n in range(MESSAGES)),
            ]
        )


@EITHER_WAY
@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DOT])
@pytest.mark.parametrize(
    "reply", ["550 5.4.5 daily quota exceeded", "454 4.7.0 too many messages", "432 4.3.2 limit"]
)
def test_a_quota_pauses_the_connection_and_spends_nothing(
    reply: str, step: Step, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    is_used_up = threading.Event()
    is_used_up.set()
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        server.when(step, lambda _: is_used_up.is_set(), say(reply), times=1000)
        connection = connect(bench, server, certificate, deliver)
        send_to_each(bench)
        deliver(bench)
        assert server.gathered >= SESSIONS[deliver]
        assert bench.health(connection).breaker == "paused"
        assert reply[4:] in bench.health(connection).last_reply
        assert bench.statuses() == ["queued"] * MESSAGES
        assert 1 <= len(bench.attempts()) <= SESSIONS[deliver], "the others were not tried"
        assert not any(row.counted for row in bench.attempts())
        assert bench.codes().count("connection_failed") == 1

        said = len(server.commands)
        deliver(bench)
        assert len(server.commands) == said, "it is left alone while the pause lasts"

        is_used_up.clear()
        bench.clock.forward(minutes=11)
        run(bench, server, deliver)
        assert bench.statuses() == ["sent"] * MESSAGES
        assert len(server.accepted) == MESSAGES
        assert [row.attempts_count for row in bench.messages()] == [1] * MESSAGES


@EITHER_WAY
@pytest.mark.parametrize("step", [Step.RCPT, Step.DOT])
@pytest.mark.parametrize("reply", ["251 will forward", "252 cannot verify", "299 what a day"])
def test_any_2xx_is_acceptance(
    reply: str, step: Step, deliver: Deliver, certificate: Identity, bench: Bench
) -> None:
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        take = take_saying if step is Step.DOT else take_recipient_saying
        server.always(step, take(reply))
        connect(bench, server, certificate, deliver)
        for number in range(MESSAGES):
            bench.send(f"ann{number}@example.org", f"bob{number}@example.org")
        deliver(bench)
        check(bench, server)
        assert server.gathered >= SESSIONS[deliver]
        assert bench.statuses() == ["sent"] * MESSAGES
        assert [row.attempts_count for row in bench.messages()] == [1] * MESSAGES
        assert all(len(one.recipients) == 2 for one in server.accepted)
        assert len(server.accepted) == MESSAGES


# ---------------------------------------------------------------- anything, at any time

TROUBLE = 0.06
"""How likely it is that a step goes wrong."""
MEETINGS = 150
"""So many times a step may go wrong; then the server behaves."""


def misbehave(server: ScriptedServer, dice: random.Random, impatience: Impatience) -> None:
    """Have any step go wrong now and then."""
    for step in Step:
        server.on(step, *(_trouble(step, dice, impatience) for _ in range(MEETINGS)))


def _trouble(step: Step, dice: random.Random, impatience: Impatience) -> Behaviour | None:
    if dice.random() > TROUBLE:
        return None
    fault = dice.choice(list(FAULTS))
    behaviour = quick(fault, impatience)
    is_taken = step is Step.DOT and fault in REPLIES_LOST and dice.random() < 0.5
    return taking(behaviour) if is_taken else behaviour


def copies_by_recipient(server: ScriptedServer) -> dict[tuple[str, str], list[Accepted]]:
    """Return what each recipient of each Message-ID got, in order."""
    found: dict[tuple[str, str], list[Accepted]] = defaultdict(list)
    for one in server.accepted:
        for address in one.recipients:
            found[one.message_id, address].append(one)
    return found


@pytest.mark.parametrize(
    ("seed", "deliver"),
    [*((seed, together) for seed in range(10)), *((seed, alone) for seed in range(4))],
)
def test_whatever_happens_each_recipient_gets_what_the_database_says(
    seed: int, deliver: Deliver, certificate: Identity, bench: Bench, impatience: Impatience
) -> None:
    dice = random.Random(seed)
    note_steps(bench.engine)
    with ScriptedServer(tls=certificate, gather=SESSIONS[deliver]) as server:
        misbehave(server, dice, impatience)
        connect(bench, server, certificate, deliver)
        for number in range(40):
            to = [f"r{number}.{n}@example.org" for n in range(dice.randint(1, 3))]
            bench.send(*to, at_most_once=number % 10 == 0)

        for _ in range(60):
            deliver(bench)
            if all(row.status in {*FINAL, Status.HELD} for row in bench.messages()):
                break
            bench.clock.forward(hours=9)

        check_steps(bench.engine)
        copies = copies_by_recipient(server)
        uncertain = Counter(row.message_id for row in bench.attempts() if is_uncertain(row))
        for row in bench.messages():
            check_message(row)
            for address, status in bench.recipients(row.id).items():
                got = copies.pop((row.message_id, address), [])
                check_recipient(row, status, got)
                assert len(got) <= 1 + uncertain[row.id]
        assert not copies, "nobody got what was not for him"
        assert uncertain, "every answer came"


def is_uncertain(attempt: Any) -> bool:
    """Tell whether the whole message was handed over and no answer came."""
    failed = attempt.status == AttemptStatus.FAIL
    return failed and attempt.stage == "body" and attempt.smtp_code is None


def check_message(row: Any) -> None:
    assert row.status in {*FINAL, Status.HELD}
    assert row.reason or row.status == Status.SENT
    assert row.at_most_once or row.status != Status.HELD, row.reason


def check_recipient(row: Any, status: str, copies: list[Accepted]) -> None:
    """Compare what a recipient got with what the database says of him.

    Where a reset may have overtaken the answer, the journal does not tell what the client knows.
    """
    told = [one.is_told for one in copies]
    assert (status == "sent") >= (True in told), "who was told so knows it"
    assert (status == "sent") <= any(answer is not False for answer in told), "and no one else"
    assert not any(told[:-1]), "who was told so offers it no more"
    assert len(told) <= 1 or not row.at_most_once
    assert (status == "pending") <= (row.status == Status.HELD)
