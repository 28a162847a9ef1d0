"""How fast messages are stored, beside django-post_office on the same database.

Ours builds the MIME and freezes it then; django-post_office stores texts and builds when sending.
"""

from __future__ import annotations

from benchmarks import contest
from benchmarks.contest import Contender, Told
from benchmarks.databases import KINDS, NAMES, SQLITE, Template
from benchmarks.report import CONTEST_HEAD, Contest, Promise, Section
from benchmarks.setting import Setting
from flask_smtp_admin import SMTPAdmin

from . import ours

WAYS = {"one": "one by one", "many": "send_many"}
OURS, THEIRS = "ours", "post_office"
LABELS = {OURS: "ours", THEIRS: "django-post_office"}


def measure(setting: Setting) -> Section:
    """Let them take turns."""
    count = setting.scale.messages_enqueued
    contenders = [
        _contender(setting, template, who, way)
        for kind in KINDS
        for who, template in _templates(setting, kind).items()
        for way in WAYS
        if who != OURS or way in _our_ways()
    ]
    told = contest.in_turns(contenders, setting.scale.rounds, setting.say)
    outcome = Contest(contenders, told, _key(THEIRS, SQLITE, "one"))
    return Section(
        title=f"Enqueue: {count:,} messages, {setting.scale.rounds} rounds",
        head=CONTEST_HEAD,
        rows=outcome.rows(),
        promises=[
            Promise(
                f"enqueue {WAYS[way]}, {NAMES[kind]}, to django-post_office",
                outcome.ratio(_key(OURS, kind, way), _key(THEIRS, kind, way)),
                1.0,
            )
            for kind in KINDS
            for way in _our_ways()
        ],
        notes=[] if "many" in _our_ways() else ["Ours has no `send_many`."],
        data=outcome.data(),
    )


def _our_ways() -> list[str]:
    return [way for way in WAYS if way == "one" or hasattr(SMTPAdmin, "send_many")]


def _templates(setting: Setting, kind: str) -> dict[str, Template]:
    """Return a database of each with its tables and no message."""
    return {
        OURS: ours.filled(setting, kind, setting.port, 0),
        THEIRS: setting.databases.filled(
            kind, lambda url: contest.fill("post_office_fill", database=url, count=0), rows=False
        ),
    }


def _contender(setting: Setting, template: Template, who: str, way: str) -> Contender:
    def once() -> Told:
        with setting.databases.copy(template) as url:
            given = {"count": setting.scale.messages_enqueued, "many": way == "many"}
            return contest.run(f"enqueue_{who}", {"database": url, **given})

    label = f"{LABELS[who]}, {NAMES[template.kind]}, {WAYS[way]}"
    return Contender(_key(who, template.kind, way), label, once)


def _key(who: str, kind: str, way: str) -> str:
    return f"{who}_{kind}_{way}"
