"""``python -m benchmarks``: run the parts, print their tables, write the figures as JSON.

Owns the command line. Must not know what a part measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.contest import ContenderFailed
from benchmarks.parts import PARTS
from benchmarks.report import Section, promises_text
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.setting import setting
from tests.servers.process import ServerMissing

RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit status."""
    options = _parser().parse_args(arguments)
    scale = QUICK if options.quick else FULL
    scale = replace(scale, rounds=options.rounds or scale.rounds)
    began_at = datetime.now(timezone.utc)
    facts = machine.facts()
    try:
        sections = _measure(scale, options.only or list(PARTS), facts)
    except (ServerMissing, ContenderFailed) as error:
        print(error, file=sys.stderr)
        return 1
    _print(sections, facts)
    path = options.json or RESULTS / f"{began_at:%Y%m%d-%H%M%S}-{scale.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = _result(scale, began_at, facts, sections)
    path.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"\n{path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short form, for CI")
    parser.add_argument(
        "--only", type=_parts, metavar="PARTS", help=f"some of {','.join(PARTS)}; with commas"
    )
    parser.add_argument("--rounds", type=int, help="how often contenders take turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    return parser


def _parts(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PARTS)}")
    return names


def _measure(scale: Scale, names: Sequence[str], facts: dict[str, Any]) -> dict[str, Section]:
    sections = {}
    with setting(scale, _say) as made:
        for name in names:
            began = time.monotonic()
            _say(f"{name} …")
            sections[name] = PARTS[name](made)
            _say(f"{name}: {time.monotonic() - began:.0f} s")
        facts["postgresql"] = made.databases.postgresql_version() or "not needed"
    return sections


def _say(words: str) -> None:
    """Tell how far it got, apart from the result."""
    print(words, file=sys.stderr, flush=True)


def _print(sections: dict[str, Section], facts: dict[str, Any]) -> None:
    for section in sections.values():
        print(f"\n{section.text()}")
    print(f"\n{promises_text(list(sections.values()))}")
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    print(
        f"\n{facts['cores']} cores, which also carry the server and the database; "
        f"{facts['processor']}; {facts['system']}; Python {facts['python']}, "
        f"SQLite {facts['sqlite']}, PostgreSQL {facts['postgresql']}, {packages}."
    )


def _result(
    scale: Scale, began_at: datetime, facts: dict[str, Any], sections: dict[str, Section]
) -> dict[str, Any]:
    return {
        "began_at": began_at.isoformat(),
        "scale": asdict(scale),
        "machine": facts,
        "parts": {name: section.as_dict() for name, section in sections.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
