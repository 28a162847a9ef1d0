"""The same with a server that is 10 ms away, each way: sessions side by side are what helps."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.contest import Contender
from benchmarks.databases import KINDS, NAMES
from benchmarks.report import CONTEST_HEAD, Contest, Promise, Section
from benchmarks.setting import Setting
from benchmarks.sink import far_away

from . import ours

MILLISECONDS = 10
SESSIONS, WORKERS = 10, 2
PLAIN = "smtplib_far"


def measure(setting: Setting) -> Section:
    """Let ours and ``smtplib`` take turns behind the proxy."""
    scale = setting.scale
    with far_away(setting.port, MILLISECONDS) as port:
        given = {"port": port, "count": scale.messages_far_plain}
        outboxes = [ours.filled(setting, kind, port, scale.messages_far) for kind in KINDS]
        contenders = [
            *(ours.drain(setting, outbox, SESSIONS) for outbox in outboxes),
            # As many sessions together, as the connection allows no more; the last one is PostgreSQL's.
            ours.drain(setting, outboxes[-1], SESSIONS // WORKERS, WORKERS),
            Contender(
                PLAIN,
                "smtplib, one session, prebuilt",
                lambda: contest.run("smtplib_reused", given),
            ),
        ]
        told = contest.in_turns(contenders, scale.rounds, setting.say)
    outcome = Contest(contenders, told, PLAIN)
    return Section(
        title=f"Drain with {MILLISECONDS} ms each way, {scale.rounds} rounds",
        head=CONTEST_HEAD,
        rows=outcome.rows(),
        promises=[
            Promise(
                f"drain with {MILLISECONDS} ms each way, {NAMES[kind]}, to smtplib",
                outcome.ratio(ours.key(kind, SESSIONS), PLAIN),
                30.0,
            )
            for kind in KINDS
        ],
        data=outcome.data(),
    )
