"""Reading the documentation: its pages, their examples, their tables.

An example that is run is marked in the page's source by comments that no reader sees:

* ``<!-- run: host -->`` before a block of Python: run it inside an application that is there already,
  with Flask-SQLAlchemy, ``smtp_admin`` and a mail server; ``<!-- run: bare -->``: in an empty folder;
  ``<!-- run -->``: after the one before it. ``<!-- host -->`` alone makes the application.
* ``<!-- then`` … ``-->`` holds Python that checks what the block did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_STEP = re.compile(
    r"""
      ^<!--\ (?:run:\ )?(?P<start>host|bare)\ -->\n
    | ^(?:<!--\ run\ -->\n)?```python\n(?P<code>.*?)^```\n
    | ^<!--\ then\n(?P<check>.*?)^-->
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Step:
    """One step of a page: a new beginning (``host``, ``bare``), a block, or a check."""

    kind: str
    code: str
    line: int
    """The first line of the code in the page."""


def steps(page: Path) -> Iterator[Step]:
    """Return the steps of a page in their order."""
    text = page.read_text("utf-8")
    for match in _STEP.finditer(text):
        if match["start"]:
            yield Step(match["start"], "", 0)
            continue
        kind = "code" if match["check"] is None else "check"
        group = "code" if kind == "code" else "check"
        yield Step(kind, match[group], text.count("\n", 0, match.start(group)) + 1)


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading of a page, its head left out."""
    text = "\n" + (DOCS / page).read_text("utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading!r}"
    lines = re.search(r"((?:^\|.*\n)+)", rest, re.MULTILINE)
    assert lines, f"{page} has no table under {heading!r}"
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in lines[1].splitlines()
    ]
    return rows[2:]


def words(cell: str) -> list[str]:
    """Return what stands in back-quotes."""
    return re.findall(r"`([^`]+)`", cell)
