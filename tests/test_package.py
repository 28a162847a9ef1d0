"""What is shipped, and what the pinned requirements may hold."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flask_smtp_admin import smtp

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "flask_smtp_admin"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if tracked.returncode:
        pytest.skip("this is not a git checkout")
    assert "flask_smtp_admin/py.typed" in shipped
    assert shipped == {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}


def test_every_name_of_the_protocol_is_there() -> None:
    """They are looked up late, so that nobody else would notice one that is missing."""
    for name in smtp.__all__:
        assert getattr(smtp, name) is not None
    with pytest.raises(AttributeError):
        smtp.nobody  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_pins_by_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^(-i|--(extra-)?index-url|--find-links)", text, re.MULTILINE)
    pins = re.findall(r"^[a-z0-9][a-z0-9._-]*(?:\[.*?\])?==\S+.*\\$", text, re.MULTILINE)
    entries = re.findall(r"^[^\s#].*$", text, re.MULTILINE)
    assert pins == entries
    assert text.count("--hash=sha256:") >= len(entries)


def test_the_example_runs_on_the_versions_that_were_tested() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text()
        return set(re.findall(r"^([a-z0-9._\[\]-]+==[^\s;]+)", text, re.MULTILINE))

    assert pins("demo.txt")
    assert {pin.split("[")[0] for pin in pins("demo.txt")} <= {
        pin.split("[")[0] for pin in pins("dev.txt")
    }
