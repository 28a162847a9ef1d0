"""An outbox with messages of every kind, their mail server, and what must be true after a crash."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin.delivery import housekeeping
from flask_smtp_admin.models import (
    Attempt,
    Connection,
    Message,
    Recipient,
    Status,
)
from flask_smtp_admin.models.states import FINAL
from tests.crashing.roles import SESSIONS
from tests.delivery.bench import Bench, a_bench
from tests.rows import a_flight, add
from tests.servers.scripted import Peer, ScriptedServer, _Envelope
from tests.waiting import wait_until

ROUNDS = 20
"""Longer than all that is tried again after one crash."""
ONCE = "once"
"""The subject of the message that must not go twice."""
_MESSAGE_ID = re.compile(rb"(?im)^message-id: *(<[^>]+>)")


class Particular(ScriptedServer):
    """Refuses whoever is called ``never…`` for ever, and ``later…`` the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: set[str] = set()

    def _take_recipient(self, peer: Peer, line: str, envelope: _Envelope) -> None:
        if "<never" in line:
            peer.say("550 5.1.1 nobody of that name")
        elif "<later" in line and line not in self._asked:
            self._asked.add(line)
            peer.say("451 4.3.0 not now")
        else:
            super()._take_recipient(peer, line, envelope)

    def wait_for_the_dead(self) -> None:
        """Wait until what a client had written before its death has been taken in."""
        wait_until(lambda: not self._socks, what="the end of the sessions")

    def took(self) -> Counter[str]:
        """How often it accepted each message, by Message-ID."""
        return Counter(_message_id(one.content) for one in self.accepted)

    def took_for(self) -> Counter[str]:
        """How often it accepted a message for each recipient."""
        return Counter(address for one in self.accepted for address in one.recipients)

    def offered_after(self, commands: int) -> set[str]:
        """The recipients that were offered after so many commands."""
        lines = [line for line in self.commands[commands:] if line.startswith("RCPT")]
        return {line[line.index("<") + 1 : line.index(">")] for line in lines}


def _message_id(content: bytes) -> str:
    found = _MESSAGE_ID.search(content)
    assert found is not None
    return found[1].decode()


def fill(bench: Bench) -> None:
    """Store a connection, and a message of every kind; each recipient is in one message only."""
    with Particular() as nowhere:
        connection = bench.connection(nowhere, max_sessions=100)
    bench.send("plain@example.org")
    bench.send("both@example.org", "of-them@example.org")
    bench.send("careful@example.org", subject=ONCE, at_most_once=True)
    bench.send("large@example.org", text="It is on its way.\n" * 5000)
    bench.send("secret@example.org", sensitive=True)
    bench.send("later@example.org")
    bench.send("yes@example.org", "never-this@example.org", "later-this@example.org")
    bench.send("never@example.org")
    _left_behind(bench, bench.send("offered@example.org"), connection, in_flight=True)
    _left_behind(bench, bench.send("claimed@example.org"), connection, in_flight=False)
    expired = bench.send("expired@example.org")
    bench.change(Message, Message.id == expired, expires_at=bench.clock() - timedelta(hours=1))
    unrouted = bench.send("unrouted@example.org")
    bench.change(Message, Message.id == unrouted, connection_id=None)
    bench.send("last@example.org")


def _left_behind(bench: Bench, number: int, connection: int, *, in_flight: bool) -> None:
    """Have a message as a worker leaves it that was killed some time ago."""
    bench.change(
        Message,
        Message.id == number,
        status=Status.SENDING,
        lease_token=f"of the dead {number}",
        lease_until=bench.clock() - timedelta(minutes=1),
    )
    if in_flight:
        started_at = bench.clock() - timedelta(minutes=2)
        add(bench.engine, a_flight(bench.message(number), started_at=started_at))


class Scene:
    """A copy of that outbox, whose connection leads to a server of its own."""

    def __init__(self, bench: Bench, server: Particular) -> None:
        self.bench = bench
        self.server = server
        self._crashes_before = 0
        self._settled: set[str] = set()
        self._commands = 0

    # --- at the crash ---------------------------------------------------------------------------

    def note_crash(self, *, is_dead: bool = True) -> None:
        """Look at everything right after a process was killed or stopped, and remember it."""
        if is_dead:
            self.server.wait_for_the_dead()
        self._check_claims()
        self._commands = len(self.server.commands)
        sent = self.bench.rows(Recipient, Recipient.status == "sent")
        self._settled = {row.address for row in sent}

    def _check_claims(self) -> None:
        """Nothing was sent of which the database did not know before."""
        tried = {row.message_id for row in self.bench.rows(Attempt)} | {*self.bench.in_flight()}
        took = self.server.took()
        for row in self.bench.messages():
            times = took[row.message_id]
            assert not times or row.id in tried, f"{_name(row)} was sent without a mark"
            if row.status == Status.SENT:
                assert times, f"{_name(row)} is called sent and was not accepted"

    def recorded(self) -> list[tuple[Any, ...]]:
        """All that is recorded of the messages and their recipients."""
        return [tuple(row) for table in (Message, Recipient) for row in self.bench.rows(table)]

    # --- afterwards -----------------------------------------------------------------------------

    def take_over(self) -> None:
        """Deliver what is due as soon as the leases of the one that was stopped have ended."""

        def is_done() -> bool:
            housekeeping.sweep(self.bench.core)
            self.bench.work()
            waits = sa.and_(Message.status == Status.QUEUED, Message.due_at > self.bench.clock())
            ended = Message.status.in_({*FINAL, Status.HELD})
            return not self.bench.rows(Message, ~sa.or_(waits, ended))

        wait_until(is_done, what="the end of the leases")

    def recover(self) -> None:
        """Pass the time, and let a healthy worker deliver whatever is left."""
        for _ in range(ROUNDS):
            self.bench.clock.forward(minutes=11)
            housekeeping.sweep(self.bench.core)
            self.bench.work()
            if all(row.status in {*FINAL, Status.HELD} for row in self.bench.messages()):
                return
        raise AssertionError(f"never ended: {self.bench.statuses()}")

    def check(self, *, crashes: int = SESSIONS) -> None:
        """Compare the server's journal with the database.

        :param crashes: messages at most that were in flight.
        """
        took, rows = self.server.took(), self.bench.messages()
        assert set(took) <= {row.message_id for row in rows}, "a copy under another Message-ID"
        cut_off = Counter({row.message_id: _crashes(row) for row in rows})
        assert cut_off.total() <= crashes, "more were in flight than there were sessions"
        for row in rows:
            self._check_message(row, took[row.message_id], cut_off[row.message_id])
        assert not self.bench.in_flight(), "an attempt without an end"
        claims = Counter((row.message_id, row.lease_token) for row in self.bench.rows(Attempt))
        assert max(claims.values(), default=1) == 1, "an attempt that was written twice"
        again = self.server.offered_after(self._commands) & self._settled
        assert not again, f"accepted, recorded, and offered again: {again}"

    def _check_message(self, row: Any, took: int, cut_off: int) -> None:
        name = _name(row)
        assert row.lease_token is None or row.status in FINAL, f"{name} is in nobody's hand"
        if row.status == Status.HELD:
            assert row.subject == ONCE, f"{name} is held: {row.reason}"
            assert cut_off == 1, f"{name} is held: {row.reason}"
            assert took <= 1, f"{name} went twice"
            return
        assert took <= 1 + cut_off + (row.status == Status.PARTIAL), f"{name} went {took} times"
        assert row.subject != ONCE or took == 1, f"{name} went {took} times"
        if row.status == Status.FAILED:
            assert row.reason, f"{name} failed without a reason"
        taken_for = self.server.took_for()
        for recipient in self.bench.rows(Recipient, Recipient.message_id == row.id):
            times, address = taken_for[recipient.address], recipient.address
            assert bool(times) == (recipient.status == "sent"), f"{address}: {times} times"
            assert bool(times) == _is_wanted(address), f"{address}: {times} times"
            assert times <= 1 + cut_off, f"{address}: {times} times"


def _name(row: Any) -> str:
    return f"the message for {row.first_recipient}"


def _crashes(row: Any) -> int:
    """How often it was in flight when the process was killed that this is about."""
    before = row.first_recipient == "offered@example.org"
    return int(row.crash_count) - int(before)


def _is_wanted(address: str) -> bool:
    return not address.startswith(("never", "expired"))


@contextmanager
def a_scene(database_url: str) -> Iterator[Scene]:
    """Set a scene on a copy of what :func:`fill` stored."""
    server = Particular()
    with server, a_bench(database_url, empty=False) as bench:
        bench.change(Connection, port=server.port)
        yield Scene(bench, server)
