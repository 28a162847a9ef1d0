"""A session tried stage by stage, told in a way that a person can act on.

Owns the report of "Test SMTP". It speaks through :class:`Session` and has no protocol code of its
own. Must know neither database nor Flask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flask_smtp_admin.smtp.dialogue import Line
from flask_smtp_admin.smtp.reply import Reply, Stage, Verdict
from flask_smtp_admin.smtp.settings import Endpoint
from flask_smtp_admin.smtp.tls import TlsFacts

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
) -> ProbeReport:
    """Try *endpoint* as a worker would; with *content* a real message is sent to *recipient*.

    Without *content* nothing is sent: the transaction is undone with RSET after RCPT. *on_stage*
    is called with each step as it ends. Never raises for a server's doings.
    """
    raise NotImplementedError
