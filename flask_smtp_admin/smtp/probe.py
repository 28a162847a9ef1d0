"""A session tried stage by stage, told in a way that a person can act on.

Owns the report of "Test SMTP". It speaks through :class:`Session` and has no protocol code of its
own. Must know neither database nor Flask.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from flask_smtp_admin.smtp.dialogue import Line
from flask_smtp_admin.smtp.failure import Failure, judge_failure
from flask_smtp_admin.smtp.hints import Trouble, advise
from flask_smtp_admin.smtp.mailaddress import read_address
from flask_smtp_admin.smtp.reply import Reply, Stage, Verdict
from flask_smtp_admin.smtp.session import Session
from flask_smtp_admin.smtp.settings import Endpoint
from flask_smtp_admin.smtp.tls import TlsFacts
from flask_smtp_admin.smtp.transaction import Envelope, SessionError

StepStatus = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Step:
    """One stage of a probe: how it ended, how long it took, and a remark with the facts.

    For the failed step ``reply`` has the server's words (if it spoke), ``cause`` the likely cause
    and ``advice`` what to change, in the order in which to try it.
    """

    stage: Stage
    status: StepStatus
    milliseconds: int
    remark: str = ""
    reply: Reply | None = None
    cause: str = ""
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeReport:
    """All steps of a probe. ``verdict`` is that of the failed step, None when ``ok``.

    ``delivered``: a real message was accepted (only when content was given).
    """

    ok: bool
    summary: str
    steps: tuple[Step, ...]
    dialogue: tuple[Line, ...]
    verdict: Verdict | None = None
    tls: TlsFacts | None = None
    delivered: bool = False

    @property
    def failed(self) -> Step | None:
        """The step that failed."""
        return next((step for step in self.steps if step.status == "failed"), None)


def probe(
    endpoint: Endpoint,
    *,
    sender: str,
    recipient: str,
    content: bytes | None = None,
    on_stage: Callable[[Step], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> ProbeReport:
    """Try *endpoint* as a worker would; with *content* a real message is sent to *recipient*.

    Without *content* nothing is sent: when the server is ready for it, we hang up. *on_stage*
    is called with each step as it ends. Never raises for a server's doings.

    :raises BadAddress: when *sender* (``""`` for none) or *recipient* is not an address.
    """
    sender = read_address(sender, "sender").spec if sender else ""
    recipient = read_address(recipient, "recipient").spec
    return _Probe(endpoint, on_stage or _ignore, clock).run(sender, recipient, content)


def _ignore(_step: Step) -> None:
    """For a caller who waits for the whole report."""


_NOTHING_SENT = "The server waits for the message. Nothing was sent: the test hung up here."

# The stages that a report always has, in the order of a session with STARTTLS.
_OPENING = (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.TLS, Stage.AUTH)
_SENDING = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY)

# Seconds that the look for TLS on a silent port may take.
_TLS_LOOK = 5.0


class _Probe:
    """A probe in progress: the session, and the steps so far."""

    def __init__(
        self, endpoint: Endpoint, on_stage: Callable[[Step], None], clock: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self._on_stage = on_stage
        self._clock = clock
        # One command at a time, so that each stage has a time of its own.
        self._session = Session(endpoint, clock, pipelining=False)
        self._steps: list[Step] = []
        self._verdict: Verdict | None = None
        self._delivered = False

    def run(self, sender: str, recipient: str, content: bytes | None) -> ProbeReport:
        stages = self._session.stages()
        try:
            if self._open(stages):
                self._transact(sender, recipient, content)
        finally:
            self._session.quit()
        self._skip_the_rest(content)
        return ProbeReport(
            ok=self._verdict is None,
            summary=self._summary(recipient),
            steps=tuple(self._steps),
            dialogue=self._session.dialogue_since(),
            verdict=self._verdict,
            tls=self._session.tls,
            delivered=self._delivered,
        )

    # ------------------------------------------------------------- the two halves

    def _open(self, stages: tuple[Stage, ...]) -> bool:
        for stage in stages:
            mark, began = self._session.mark(), self._clock()
            try:
                self._session.open(until=stage)
            except SessionError as error:
                self._fail(stage, self._since(began), error.verdict, error.reply, error.failure)
                return False
            self._add(Step(stage, "ok", self._since(began), self._facts(stage, mark)))
        return True

    def _transact(self, sender: str, recipient: str, content: bytes | None) -> None:
        envelope = Envelope(
            sender, (recipient,), content or b"", eight_bit=not (content or b"").isascii()
        )
        if content is None:
            result = self._session.rehearse(envelope)
        else:
            result = self._session.send(envelope)
        lines = self._session.dialogue_since(result.mark)
        for stage in _SENDING:
            if stage is result.stage and not result.accepted:
                spent = _spent(lines, stage)
                self._fail(stage, spent, result.verdict, result.reply, None)
                return
            words = [line.text for line in lines if line.stage is stage and line.direction == "S"]
            if words:
                if content is None and stage is Stage.DATA:
                    words.append(_NOTHING_SENT)
                self._add(Step(stage, "ok", _spent(lines, stage), " ".join(words)))
        self._delivered = content is not None

    # ------------------------------------------------------------- steps

    def _facts(self, stage: Stage, mark: int) -> str:
        """What is worth knowing of a stage that went well."""
        if stage is Stage.EHLO:
            return "offers " + (", ".join(self._session.extensions) or "no extensions")
        if stage is Stage.TLS:
            return str(self._session.tls)
        lines = self._session.dialogue_since(mark)
        if stage is Stage.AUTH:
            return f"{self._session.mechanism}: {lines[-1].text}"
        return "; ".join(line.text for line in lines if line.direction != "C")

    def _fail(
        self,
        stage: Stage,
        milliseconds: int,
        verdict: Verdict,
        reply: Reply | None,
        failure: Failure | None,
    ) -> None:
        if self._speaks_tls(stage, failure):
            failure = Failure.TLS_EXPECTED
            verdict = judge_failure(stage, failure)
        self._verdict = verdict
        cause, advice = advise(Trouble(self._endpoint, stage, verdict, reply, failure))
        remark = str(reply) if reply is not None else self._last_remark(verdict.stage)
        self._add(
            Step(stage, "failed", milliseconds, remark or verdict.summary, reply, cause, advice)
        )

    def _last_remark(self, stage: Stage) -> str:
        """What the session noted last, when it is about *stage*."""
        lines = self._session.dialogue_since()
        last = lines[-1] if lines else None
        return last.text if last and last.direction == "*" and last.stage is stage else ""

    def _speaks_tls(self, stage: Stage, failure: Failure | None) -> bool:
        """Whether a port that stays silent answers a TLS handshake."""
        silent = failure in {Failure.TIMED_OUT, Failure.CLOSED, Failure.RESET}
        if stage is not Stage.GREETING or not silent or self._endpoint.encryption == "implicit":
            return False
        limit = min(self._endpoint.reply_timeout, _TLS_LOOK)
        session = Session(
            replace(
                self._endpoint,
                encryption="implicit",
                connect_timeout=min(self._endpoint.connect_timeout, _TLS_LOOK),
                reply_timeout=limit,
            ),
            self._clock,
        )
        try:
            session.open(until=Stage.TLS)
        except SessionError as error:
            # A certificate that we refuse is still a certificate: TLS is spoken there.
            return error.failure is not None and error.failure.name.startswith("CERTIFICATE_")
        finally:
            session.abort()
        return True

    def _skip_the_rest(self, content: bytes | None) -> None:
        """A step for each stage that was not reached, or that this endpoint does not have."""
        done = {step.stage for step in self._steps}
        failed = self._verdict is not None
        for stage in (*_OPENING, *_SENDING):
            if stage in done:
                continue
            if stage is Stage.TLS and self._endpoint.encryption == "none":
                remark = "No encryption is set for this connection."
            elif stage is Stage.AUTH and not self._endpoint.use_auth:
                remark = "Authentication is off."
            elif failed:
                remark = "Not reached."
            else:
                continue
            self._add(Step(stage, "skipped", 0, remark))
        order = [Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.TLS]
        if self._endpoint.encryption == "implicit":
            order = [Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO]
        order += [Stage.AUTH, *_SENDING]
        self._steps.sort(key=lambda step: order.index(step.stage))

    def _add(self, step: Step) -> None:
        self._steps.append(step)
        self._on_stage(step)

    def _since(self, began: float) -> int:
        return round((self._clock() - began) * 1000)

    def _summary(self, recipient: str) -> str:
        if self._verdict is not None:
            return self._verdict.summary
        if self._delivered:
            return f"The server accepted the test message for {recipient}."
        return f"All is well: the server would accept mail for {recipient}. Nothing was sent."


def _spent(lines: tuple[Line, ...], stage: Stage) -> int:
    """Milliseconds from the first line of *stage* to its last."""
    times = [line.at_ms for line in lines if line.stage is stage]
    return times[-1] - times[0] if times else 0
