"""The states of a message as a machine: whatever people, servers and crashes do, in any order.

Hypothesis plays the host, the administrator, the server and the crashes. After each step every row
is in a state that its history allows; in the end, with a server that takes everything, nothing is
left that a sweep cannot reach.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flask_smtp_admin import outbox
from flask_smtp_admin.delivery import carriers, claim, housekeeping, record
from flask_smtp_admin.delivery.record import Begin
from flask_smtp_admin.models import Message, Status
from flask_smtp_admin.models.states import FINAL
from tests.delivery.bench import Bench
from tests.delivery.steps import check_steps, note_steps
from tests.servers.scripted import Behaviour, ScriptedServer, Step, close, say

LEASE = timedelta(seconds=45)
ANSWERS: dict[str, tuple[Step, Behaviour]] = {
    "greylisted": (Step.RCPT, say("450 4.2.1 later")),
    "refused": (Step.RCPT, say("550 5.1.1 nobody")),
    "sender refused": (Step.MAIL, say("550 5.7.1 not you")),
    "content refused": (Step.DOT, say("554 5.6.0 no")),
    "content later": (Step.DOT, say("451 4.3.0 later")),
    "hangs up": (Step.DATA, close),
    "hangs up after the dot": (Step.DOT, close),
    "quota": (Step.MAIL, say("454 4.7.0 too many messages")),
    "login refused": (Step.BANNER, say("554 5.7.1 go away")),
}


class Machine(RuleBasedStateMachine):
    """One outbox, one server, and everybody who may touch them."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.bench = Bench(f"sqlite:///{Path(self._folder.name) / 'machine.sqlite'}")
        note_steps(self.bench.engine)
        self.server = ScriptedServer().__enter__()
        self.connection = 0
        self.numbers: list[int] = []
        self.crashes = 0

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.server.__exit__(None, None, None)
            self.bench.engine.dispose()
            self._folder.cleanup()

    @initialize()
    def connect(self) -> None:
        self.connection = self.bench.connection(
            self.server, max_sessions=1, reply_timeout=5, final_timeout=5
        )
        self._have_one_in_each_state()

    def _have_one_in_each_state(self) -> None:
        """So whatever is done meets all of them, however few steps there are."""
        refused = ANSWERS["refused"][1]
        for answers in ((None, None), (None, refused), (refused, refused)):
            self.server.on(Step.RCPT, *answers)
            self.send(recipients=2, priority="normal", once=False, delay=None)
            self.work()
        assert self.bench.statuses() == ["sent", "partial", "failed"]
        for act in (outbox.delete, outbox.hold):
            self.send(recipients=1, priority="normal", once=False, delay=None)
            act(self.bench.core, Message.id == self.numbers[-1])

    # --- what happens ---------------------------------------------------------------------------

    @rule(
        recipients=st.integers(1, 3),
        priority=st.sampled_from(["high", "normal", "low"]),
        once=st.booleans(),
        delay=st.sampled_from([None, 30, 3600]),
    )
    def send(self, recipients: int, priority: str, once: bool, delay: int | None) -> None:
        addresses = [f"r{n}@example.org" for n in range(recipients)]
        options: dict[str, Any] = {"priority": priority, "at_most_once": once, "delay": delay}
        self.numbers.append(self.bench.send(*addresses, **options))

    @rule(answer=st.sampled_from(sorted(ANSWERS)))
    def answer_next(self, answer: str) -> None:
        step, behaviour = ANSWERS[answer]
        self.server.on(step, behaviour)

    @rule()
    def work(self) -> None:
        self.bench.work()

    @rule(minutes=st.sampled_from([0.2, 2, 20, 600]))
    def pass_time(self, minutes: float) -> None:
        self.bench.clock.forward(minutes=minutes)

    @rule()
    def sweep(self) -> None:
        housekeeping.sweep(self.bench.core)

    @rule(in_flight=st.booleans())
    def crash(self, in_flight: bool) -> None:
        """A worker claims, perhaps begins, and is never heard of again."""
        core, now = self.bench.core, self.bench.clock()
        carrier = carriers.find(core, self.connection)
        assert carrier is not None
        self.crashes += 1
        with core.database.write() as connection:
            taken = claim.claim(
                connection,
                self.connection,
                limit=2,
                token=f"dead {self.crashes}",
                now=now,
                lease_until=now + LEASE,
            )
            if taken and in_flight:
                assert record.begin(connection, [Begin(taken[0], carrier, "the dead")], now)

    @precondition(lambda self: self.numbers)
    @rule(
        act=st.sampled_from([outbox.hold, outbox.release, outbox.retry, outbox.delete]),
        which=st.integers(0, 20),
    )
    def act(self, act: Any, which: int) -> None:
        number = self.numbers[which % len(self.numbers)]
        act(self.bench.core, Message.id == number)

    @rule(act=st.sampled_from([outbox.hold, outbox.release, outbox.retry]))
    def act_on_all(self, act: Any) -> None:
        act(self.bench.core, Message.id > 0)

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def every_row_went_a_way_that_the_table_has(self) -> None:
        check_steps(self.bench.engine)
        for row in self.bench.messages():
            assert (row.lease_until is not None) == (row.status is Status.SENDING)
            assert (row.finished_at is not None) == (row.status in FINAL), row

    @invariant()
    def sent_is_what_the_server_took(self) -> None:
        taken: Counter[tuple[str, str]] = Counter()
        for one in self.server.accepted:
            found = re.search(rb"(?im)^message-id: *(<[^>]+>)", one.content)
            assert found is not None
            taken.update((found[1].decode(), address) for address in one.recipients)
        for row in self.bench.messages():
            for address, outcome in self.bench.recipients(row.id).items():
                copies = taken[row.message_id, address]
                assert copies <= 1
                assert (outcome == "sent") == (copies == 1), (row.status, address, outcome)

    def _end(self) -> None:
        """With people and a server that mean well, nothing is left."""
        for script in self.server._scripts.values():
            script.clear()
        for _ in range(40):
            outbox.release(self.bench.core, Message.status == Status.HELD)
            self.bench.clock.forward(hours=9)
            housekeeping.sweep(self.bench.core)
            self.bench.work()
            if all(row.status in FINAL for row in self.bench.messages()):
                break
        else:
            raise AssertionError(f"out of reach: {self.bench.statuses()}")
        self.every_row_went_a_way_that_the_table_has()
        self.sent_is_what_the_server_took()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
