"""How fast a full queue is delivered, beside plain ``smtplib`` and everybody's usual ways.

Ours stores an outcome and an attempt for each message, durably; ``smtplib`` and Flask-Mail store
nothing.
"""

from __future__ import annotations

from benchmarks import contest
from benchmarks.contest import Contender, Told
from benchmarks.databases import KINDS, NAMES, POSTGRESQL, SQLITE, Template
from benchmarks.report import CONTEST_HEAD, Contest, Promise, Section
from benchmarks.setting import Setting

from . import ours

PLAIN = "smtplib"


def measure(setting: Setting) -> Section:
    """Let them take turns."""
    scale = setting.scale
    contenders = [*_ours(setting), _plain(setting), *_peers(setting)]
    told = contest.in_turns(contenders, scale.rounds, setting.say)
    outcome = Contest(contenders, told, PLAIN)
    return Section(
        title=f"Drain: {scale.messages:,} messages, {scale.rounds} rounds",
        head=CONTEST_HEAD,
        rows=outcome.rows(),
        promises=_promises(setting, outcome),
        data=outcome.data(),
    )


def _ours(setting: Setting) -> list[Contender]:
    scale = setting.scale
    contenders = []
    for kind in KINDS:
        template = ours.filled(setting, kind, setting.port, scale.messages)
        contenders += [ours.drain(setting, template, sessions) for sessions in scale.sessions]
    # The last template is PostgreSQL's.
    contenders += [ours.drain(setting, template, sessions, 2) for sessions in scale.sessions]
    return contenders


def _plain(setting: Setting) -> Contender:
    given = {"port": setting.port, "count": setting.scale.messages_plain}
    return Contender(
        PLAIN, "smtplib, one session, prebuilt", lambda: contest.run("smtplib_reused", given)
    )


def _peers(setting: Setting) -> list[Contender]:
    scale = setting.scale
    flask_mail = {"port": setting.port, "count": scale.messages_flask_mail, "block": False}
    rq = {"port": setting.port, "count": scale.messages_rq, "redis": setting.redis_url}
    return [
        Contender(
            "flask_mail",
            "Flask-Mail, send()",
            lambda: contest.run("flask_mail_sends", flask_mail),
        ),
        Contender(
            "flask_mail_block",
            "Flask-Mail, one connect() block",
            lambda: contest.run("flask_mail_sends", {**flask_mail, "block": True}),
        ),
        Contender("rq", "RQ, one job a message", lambda: contest.run("rq_jobs", rq)),
        *(_post_office(setting, kind) for kind in KINDS),
        _mailer(setting),
    ]


def _post_office(setting: Setting, kind: str) -> Contender:
    count = setting.scale.messages
    template = setting.databases.filled(
        kind, lambda url: contest.fill("post_office_fill", database=url, count=count)
    )
    once = _on_copy(setting, template, "post_office_drain")
    return Contender(f"post_office_{kind}", f"django-post_office, {NAMES[kind]}", once)


def _mailer(setting: Setting) -> Contender:
    count = setting.scale.messages_mailer
    template = setting.databases.filled(
        SQLITE, lambda url: contest.fill("mailer_fill", database=url, count=count)
    )
    once = _on_copy(setting, template, "mailer_drain")
    return Contender("mailer_sqlite", "django-mailer, SQLite", once)


def _on_copy(setting: Setting, template: Template, name: str) -> contest.Once:
    def once() -> Told:
        with setting.databases.copy(template) as url:
            return contest.run(name, {"database": url, "port": setting.port})

    return once


def _promises(setting: Setting, outcome: Contest) -> list[Promise]:
    promises = []
    sessions = setting.scale.sessions
    for kind in KINDS:
        best = outcome.fastest([ours.key(kind, number) for number in sessions])
        post_office = f"post_office_{kind}"
        name = NAMES[kind]
        promises += [
            Promise(f"drain, {name}, to smtplib", outcome.ratio(best, PLAIN), 1.0),
            Promise(f"drain, {name}, to django-post_office", outcome.ratio(best, post_office), 3.0),
            Promise(f"drain, {name}, to RQ with a job each", outcome.ratio(best, "rq"), 15.0),
        ]
    one = outcome.fastest([ours.key(POSTGRESQL, number) for number in sessions])
    two = outcome.fastest([ours.key(POSTGRESQL, number, 2) for number in sessions])
    promises.append(Promise("two workers to one, PostgreSQL", outcome.ratio(two, one), 1.4))
    return promises
