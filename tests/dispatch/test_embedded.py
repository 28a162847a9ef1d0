"""The thread of the application's own process: at exit, after a fork, with a server that hangs."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_smtp_admin.core import EXTENSION_KEY
from flask_smtp_admin.dispatch import embedded
from flask_smtp_admin.dispatch.embedded import EmbeddedBell
from tests.delivery.bench import Bench
from tests.delivery.test_housekeeping import die_with
from tests.dispatch.stage import Stage
from tests.servers.catchall import CatchAll
from tests.servers.scripted import ScriptedServer, Step, silence
from tests.waiting import wait_until


def test_a_process_that_ends_at_once_delivers_first(
    embedded_stage: Stage, catchall: CatchAll
) -> None:
    stage = embedded_stage
    stage.bench.connection(catchall)

    done = stage.run("send", "40")

    assert done.returncode == 0, done.stderr
    assert stage.bench.statuses() == ["sent"] * 40
    assert len(catchall.messages) == 40
    assert "Exception" not in done.stderr.replace("LookupError", "")
    assert stage.workers() == set(), "it has signed off"


def test_processes_that_end_at_once_take_back_what_a_killed_one_had_in_hand(
    embedded_stage: Stage, catchall: CatchAll
) -> None:
    bench = embedded_stage.bench
    connection = bench.connection(catchall)
    bench.clock.forward(hours=-1)
    die_with(bench, connection, bench.send())

    done = embedded_stage.run("send", "1")

    assert done.returncode == 0, done.stderr
    assert bench.statuses() == ["sent"] * 2
    assert len(catchall.messages) == 2


def test_a_forked_process_has_a_thread_and_links_of_its_own(
    embedded_stage: Stage, catchall: CatchAll
) -> None:
    stage = embedded_stage
    stage.bench.connection(catchall)

    done = stage.run("fork")

    assert done.returncode == 0, done.stderr
    assert stage.bench.statuses() == ["sent"] * 3
    assert len(catchall.messages) == 3


def test_a_server_that_hangs_does_not_keep_the_process(embedded_stage: Stage) -> None:
    stage = embedded_stage
    stage.environment["HOST_HURRY"] = "1"
    with ScriptedServer() as server:
        server.always(Step.BANNER, silence)
        stage.bench.connection(server, reply_timeout=3600, session_deadline=86_400)
        done = stage.run("send", "3")

    assert done.returncode == 0, done.stderr
    assert set(stage.bench.statuses()) <= {"queued", "sending"}


def test_the_first_request_starts_the_thread(embedded_stage: Stage, catchall: CatchAll) -> None:
    """What an earlier process left behind leaves although nothing new is sent."""
    stage = embedded_stage
    stage.bench.connection(catchall)
    stage.bench.send()

    stage.app.test_client().get("/nothing-there")

    stage.wait_until_sent(1)
    end_thread_of(stage)


def end_thread_of(stage: Stage) -> None:
    [bell] = [bell for bell in embedded._bells if bell._core is stage.core]
    bell._finish()
    assert EXTENSION_KEY in stage.app.extensions


def test_a_thread_that_died_is_replaced(bench: Bench, catchall: CatchAll) -> None:
    bench.connection(catchall)
    bell = EmbeddedBell(bench.core)
    bench.send()
    bell.ring()
    wait_until(lambda: bench.statuses() == ["sent"])
    first = bell._thread
    assert first is not None
    assert bell._worker is not None
    bell._worker.stop()
    first.join()

    bench.send()
    bell.ring()

    wait_until(lambda: bench.statuses() == ["sent", "sent"])
    assert bell._thread is not first
    bell._finish()


def test_nothing_is_started_once_the_process_is_ending(bench: Bench, catchall: CatchAll) -> None:
    bell = EmbeddedBell(bench.core)
    bell.ring()
    bell._finish()
    before = threading.active_count()

    bell.ring()

    assert threading.active_count() == before


def test_an_interpreter_that_gives_out_no_threads_does_not_hang_the_worker(
    bench: Bench, catchall: CatchAll, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Python 3.12 refuses to start threads from then on (see the atexit module)."""
    bench.connection(catchall)
    bench.send()
    worker = bench.worker()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    worker.drain()
    monkeypatch.undo()

    assert "No thread can be started any more" in caplog.text
    assert bench.statuses() == ["queued"]
    assert bench.work() == 1
