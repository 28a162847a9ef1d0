"""The gate between a thread's use of the database and a fork."""

from __future__ import annotations

import os
import threading

import pytest

from flask_smtp_admin.dispatch.forking import ForkGate
from tests.waiting import wait_until


def test_a_fork_waits_for_a_use_to_end_and_keeps_the_next_from_beginning() -> None:
    gate = ForkGate()
    steps: list[str] = []
    may_end = threading.Event()

    def use(name: str) -> None:
        with gate.use():
            steps.append(f"{name} begins")
            may_end.wait()
            steps.append(f"{name} ends")

    first = threading.Thread(target=use, args=("first",))
    first.start()
    wait_until(lambda: steps == ["first begins"])
    closing = threading.Thread(target=gate.close)
    closing.start()
    wait_until(lambda: gate._is_closed)
    second = threading.Thread(target=use, args=("second",))
    second.start()
    may_end.set()
    closing.join()
    assert steps == ["first begins", "first ends"]

    gate.open()
    first.join()
    second.join()
    assert steps[2:] == ["second begins", "second ends"]


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_finds_the_gate_open() -> None:
    gate = ForkGate()
    child = os.fork()
    if child == 0:
        os._exit(0 if not gate._is_closed and gate._uses == 0 else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert not gate._is_closed


def test_who_has_a_use_going_on_does_not_wait_for_a_fork_with_another() -> None:
    """The first one could not come to its end, if the same thread waited."""
    gate = ForkGate()
    closed = threading.Event()

    def fork() -> None:
        gate.close()
        closed.set()

    with gate.use():
        thread = threading.Thread(target=fork)
        thread.start()
        wait_until(lambda: gate._is_closed)
        with gate.use():
            assert not closed.is_set()
    assert closed.wait(60)
    thread.join()
    gate.open()
