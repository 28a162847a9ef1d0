"""How long an idle, warm worker takes from the return of ``send()`` to the server's acceptance."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.databases import KINDS, NAMES
from benchmarks.figures import percentile, shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting

LABELS = {"rq": "RQ", "embedded": "embedded"}


def measure(setting: Setting) -> Section:
    """Measure each dispatch on each database."""
    section = Section(
        title=f"Wake-up: {setting.scale.wakes} messages, one at a time, milliseconds",
        head=("dispatch", "p50", "p99", "longest"),
    )
    for dispatch, name in LABELS.items():
        for kind in KINDS:
            _add(section, f"{name}, {NAMES[kind]}", _milliseconds(setting, dispatch, kind))
    return section


def _milliseconds(setting: Setting, dispatch: str, kind: str) -> list[float]:
    with setting.databases.fresh(kind) as url:
        given = {"dispatch": dispatch, "redis": setting.redis_url, "count": setting.scale.wakes}
        told = contest.run("wake", {"database": url, **given})
    milliseconds: list[float] = told["milliseconds"]
    return milliseconds


def _add(section: Section, label: str, milliseconds: list[float]) -> None:
    p50, p99, longest = (percentile(milliseconds, share) for share in (0.5, 0.99, 1.0))
    section.rows.append([label, shown(p50), shown(p99), shown(longest)])
    section.promises += [
        Promise(f"wake-up p50, {label}", p50, 30, "ms", at_most=True),
        Promise(f"wake-up p99, {label}", p99, 150, "ms", at_most=True),
    ]
    section.data[label] = {"p50": p50, "p99": p99, "longest": longest}
