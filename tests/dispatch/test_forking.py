"""The gate between a thread's use of the database and a fork."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_smtp_admin import SMTPAdmin, connections
from flask_smtp_admin.dispatch import forking
from flask_smtp_admin.dispatch.forking import ForkGate
from flask_smtp_admin.models import Connection
from tests.apps import bare_app, core_of
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
    wait_until(lambda: gate._forks)
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
        os._exit(0 if not gate._forks and gate._uses == 0 else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert not gate._forks


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_process_that_uses_the_outbox_for_the_first_time_does_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the parent was about to do, the child does itself: the parent may fail."""
    app = bare_app(tmp_path / "instance", MAIL_SERVER="127.0.0.1", SMTP_ADMIN_DISPATCH="none")
    SMTPAdmin(app)
    parent, is_inside, may_go = os.getpid(), threading.Event(), threading.Event()
    ensure_first = connections.ensure_first

    def wait(*given: Any, **more: Any) -> Any:
        if os.getpid() == parent:
            is_inside.set()
            may_go.wait()
        return ensure_first(*given, **more)

    monkeypatch.setattr(connections, "ensure_first", wait)

    def count() -> int:
        with core_of(app).database.read() as link:
            rows = link.execute(sa.select(sa.func.count()).select_from(Connection))
            return int(rows.scalar_one())

    def first_use() -> None:
        with app.app_context():
            count()

    using = threading.Thread(target=first_use)
    using.start()
    is_inside.wait()
    child = os.fork()
    if child == 0:
        code = 2
        with contextlib.suppress(BaseException):
            code = 0 if count() == 1 else 1
        os._exit(code)
    _, status = os.waitpid(child, 0)
    may_go.set()
    using.join()

    assert os.waitstatus_to_exitcode(status) == 0


def test_who_has_a_use_going_on_does_not_wait_for_a_fork_with_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one could not come to its end, if the same thread waited."""
    gate = ForkGate()
    monkeypatch.setattr(forking, "PATIENCE_SECONDS", 1.0)
    waits: list[bool] = []

    def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
        waits.append(wait(condition, seconds))
        return waits[-1]

    with gate.use():
        thread = threading.Thread(target=gate.close)
        thread.start()
        wait_until(lambda: gate._forks)
        wait = gate._changed.wait_for
        monkeypatch.setattr(gate._changed, "wait_for", wait_for)
        with gate.use():
            assert waits == [True], "it did not have to give up waiting"
    thread.join()
    gate.open()


def test_two_threads_that_fork_at_once_keep_the_gate_closed_for_both() -> None:
    gate = ForkGate()
    gate.close()
    gate.close()
    gate.open()
    assert gate._forks
    gate.open()
    assert not gate._forks
