"""What a child process has of its parent: no import half done, no link in use, no lock taken."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_smtp_admin import SMTPAdmin, late
from tests.apps import bare_app, core_of

pytestmark = pytest.mark.skipif(
    not hasattr(os, "register_at_fork"), reason="this system does not fork"
)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_finds_no_import_half_done() -> None:
    is_importing, may_end = threading.Event(), threading.Event()
    steps: list[str] = []

    def load() -> None:
        with late.importing():
            is_importing.set()
            may_end.wait()
            steps.append("imported")

    thread = threading.Thread(target=load)
    thread.start()
    is_importing.wait()
    threading.Timer(0.2, may_end.set).start()
    child = os.fork()
    if child == 0:
        with late.importing():
            os._exit(0 if steps == ["imported"] else 1)
    _, status = os.waitpid(child, 0)
    thread.join()

    assert os.waitstatus_to_exitcode(status) == 0
    with late.importing():
        pass


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_import_that_does_not_end_keeps_no_process_from_forking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(late, "PATIENCE_SECONDS", 0.0)
    is_importing, may_end = threading.Event(), threading.Event()

    def load() -> None:
        with late.importing():
            is_importing.set()
            may_end.wait()

    thread = threading.Thread(target=load)
    thread.start()
    is_importing.wait()
    child = os.fork()
    if child == 0:
        with late.importing():
            os._exit(0)
    _, status = os.waitpid(child, 0)
    may_end.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_has_links_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    app = bare_app(tmp_path / "instance", SMTP_ADMIN_DATABASE_URI=postgres_url)
    SMTPAdmin(app)

    def backend() -> int:
        with core_of(app).database.read() as connection:
            return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

    before = backend()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(backend()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reader, 20)) != before
    assert backend() == before, "the parent keeps its own"
    core_of(app).database.bare_engine.dispose()
    os.close(reader)
    os.close(writer)
