"""An outcome in letters that every database takes.

Owns which words of an outcome are a stranger's, and how they are written when the database has no
letters for them: one of PostgreSQL may have been made with an encoding of one language. Must not
know the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..smtp import Reply, Verdict
from .decide import Decision, RecipientOutcome
from .record import Done, Report


def in_ascii(done: Done) -> Done:
    r"""Return the same outcome; each letter beyond ASCII is a ``\xNN``, ``\uNNNN`` or so in it."""
    return replace(done, decision=_decision(done.decision), report=_report(done.report))


def _decision(decision: Decision) -> Decision:
    return replace(
        decision,
        reason=_ascii(decision.reason),
        verdict=_verdict(decision.verdict),
        blames=_verdict(decision.blames) if decision.blames is not None else None,
        recipients=_recipients(decision.recipients),
        given_up=_recipients(decision.given_up),
    )


def _verdict(verdict: Verdict) -> Verdict:
    return replace(verdict, summary=_ascii(verdict.summary), advice=_ascii(verdict.advice))


def _recipients(outcomes: Iterable[RecipientOutcome]) -> tuple[RecipientOutcome, ...]:
    return tuple(
        replace(one, reply=_maybe(one.reply), enhanced_code=_maybe(one.enhanced_code))
        for one in outcomes
    )


def _report(report: Report) -> Report:
    reply = report.reply
    return replace(
        report,
        reply=None if reply is None else Reply(reply.code, tuple(map(_ascii, reply.lines))),
        dialogue=tuple(line._replace(text=_ascii(line.text)) for line in report.dialogue),
    )


def _maybe(text: str | None) -> str | None:
    return None if text is None else _ascii(text)


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii").replace("\0", r"\x00")
