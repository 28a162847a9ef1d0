"""A message that stops whoever offers it: it is put into quarantine, and the others go out.

The processes are real, and so is their end: the server has them killed by SIGKILL when it has got the
whole message. A supervisor starts a new one each time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_smtp_admin.delivery.suspects import CRASHES_TO_SUSPECT
from flask_smtp_admin.models import Flight, Message, Status
from tests.dispatch.stage import Stage, a_stage
from tests.servers.process import ServerProcess
from tests.servers.scripted import Peer, ScriptedServer, Step
from tests.waiting import wait_until

POISON = "poison@example.org"
PROMISED_CRASHES = 3
"""After so many the docs have a message held."""
BEFORE, AFTER_EACH = 20, 5
"""Messages that wait behind it, and that come after each death."""


@pytest.fixture
def stage(tmp_path: Path, sqlite_url: str) -> Iterator[Stage]:
    with a_stage(tmp_path / "host", sqlite_url) as made:
        yield made


class Supervisor:
    """Keeps workers running, of which each dies that offers the poison.

    :param workers: how many run side by side. Each has one session, so that nothing else is in
        flight with it when it dies.
    """

    def __init__(self, stage: Stage, server: ScriptedServer, workers: int) -> None:
        self._stage = stage
        self._bench = stage.bench
        self._is_offered = threading.Event()
        self.deaths = 0
        server.when(Step.DOT, _is_poison, self._offer, times=1000)
        stage.bench.connection(server, max_sessions=20)
        self.poison = stage.bench.send(POISON, priority="high")
        stage.send(BEFORE)
        self._workers = [self._start() for _ in range(workers)]

    def _start(self) -> ServerProcess:
        return self._stage.worker("--sessions", "1")

    def _offer(self, peer: Peer) -> None:
        """Say nothing more to who offers it: he is about to die."""
        self._is_offered.set()
        while True:
            peer.more()

    def run(self) -> None:
        """Go on until no message waits, nor is under way."""
        while self._is_called():
            self._bury()
            assert self.deaths <= PROMISED_CRASHES, "it is offered again and again"

    def _is_called(self) -> bool:
        """Wait until somebody offers it, or until it is over."""
        wait_until(
            lambda: self._is_offered.is_set() or self._is_over(), what="a death or the end of all"
        )
        return self._is_offered.is_set()

    def _bury(self) -> None:
        [mark] = self._bench.rows(Flight, Flight.message_id == self.poison)
        number = int(mark.worker.rpartition(":")[2])
        [dead] = [worker for worker in self._workers if worker.pid == number]
        self._is_offered.clear()
        dead.kill()
        self.deaths += 1
        self._stage.send(AFTER_EACH)
        self._workers[self._workers.index(dead)] = self._start()

    def _is_over(self) -> bool:
        self._end_rest()
        return not {"queued", "sending"} & set(self._bench.statuses())

    def _end_rest(self) -> None:
        """Have it tried soon that rests for a minute after two crashes, when the others have left."""
        if self._bench.statuses().count("queued") == 1:
            self._bench.change(
                Message,
                Message.id == self.poison,
                Message.status == Status.QUEUED,
                Message.crash_count == CRASHES_TO_SUSPECT,
                due_at=self._bench.clock(),
            )


def _is_poison(peer: Peer) -> bool:
    return peer.offered is not None and POISON in peer.offered.recipients


def test_what_stops_three_workers_is_held_and_all_others_go_out_once(stage: Stage) -> None:
    with ScriptedServer() as server:
        supervisor = Supervisor(stage, server, workers=2)
        supervisor.run()

    assert supervisor.deaths == PROMISED_CRASHES
    poison, *others = stage.bench.messages()
    assert poison.id == supervisor.poison
    assert (poison.status, poison.crash_count) == ("held", PROMISED_CRASHES)
    assert poison.reason.startswith("In quarantine: 3 workers")
    assert stage.bench.in_flight() == {}
    assert len(others) == BEFORE + PROMISED_CRASHES * AFTER_EACH
    assert {row.status for row in others} == {"sent"}
    assert {row.crash_count for row in others} == {0}
    taken = Counter(one.message_id for one in server.accepted)
    assert taken == Counter(row.message_id for row in others), "each once, and nothing else"
