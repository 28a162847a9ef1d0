"""What ``SMTPAdmin(app)`` costs an application that sends nothing: at its start, and a request."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.figures import Spread, shown
from benchmarks.report import Promise, Section
from benchmarks.setting import Setting


def measure(setting: Setting) -> Section:
    """Measure both with and without it."""
    without, with_ours = _starts(setting)
    start = (with_ours.median - without.median) / 1000
    plain, ours = _requests(setting)
    return Section(
        title="Cost of SMTPAdmin(app)",
        head=("what", "without", "with", "ratio"),
        rows=[_row("start, ms", without, with_ours), _row("a request, µs", plain, ours)],
        promises=[
            Promise("cost at the start", start, 0.3, "s", at_most=True),
            Promise(
                "a request with it to one without", ours.median / plain.median, 1.01, at_most=True
            ),
        ],
        notes=["The request is the cheapest there is: a view that returns two letters."],
        data={
            "start_milliseconds": [without.as_dict(), with_ours.as_dict()],
            "request_microseconds": [plain.as_dict(), ours.as_dict()],
        },
    )


def _starts(setting: Setting) -> tuple[Spread, Spread]:
    taken: dict[bool, list[float]] = {False: [], True: []}
    contest.run("start", {"ours": True})  # it writes the bytecode, as installing a package does
    for _ in range(setting.scale.starts):
        for ours, milliseconds in taken.items():
            milliseconds.append(contest.run("start", {"ours": ours})["seconds"] * 1000)
    return Spread.of(taken[False]), Spread.of(taken[True])


def _requests(setting: Setting) -> tuple[Spread, Spread]:
    told = contest.run("requests", {"count": setting.scale.requests})
    without, with_ours = told["microseconds"]
    return Spread.of(without), Spread.of(with_ours)


def _row(label: str, without: Spread, with_ours: Spread) -> list[str]:
    ratio = with_ours.median / without.median
    return [label, shown(without.median), shown(with_ours.median), f"{shown(ratio)} ×"]
