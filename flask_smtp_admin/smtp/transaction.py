"""What goes into an SMTP transaction and what comes out of it: plain values.

Owns :class:`Envelope`, :class:`RecipientResult`, :class:`Transaction` and :class:`SessionError`.
Must not know how they come about (:mod:`flask_smtp_admin.smtp.session`).
"""

from __future__ import annotations

from dataclasses import dataclass

from flask_smtp_admin.errors import SMTPAdminError
from flask_smtp_admin.smtp.failure import Failure
from flask_smtp_admin.smtp.reply import Reply, Stage, Verdict


@dataclass(frozen=True)
class Envelope:
    """A message on its way: who, to whom, and the frozen bytes.

    ``sender`` is ``""`` for the null reverse-path of notices (RFC 5321 section 4.5.5). ``content``
    has CRLF line ends and no dot-stuffing. ``smtputf8``: an address or a header needs RFC 6531.
    ``eight_bit``: the content has octets above 127.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    smtputf8: bool = False
    eight_bit: bool = False


@dataclass(frozen=True)
class RecipientResult:
    """The outcome for one recipient; ``reply`` is the one that decided it, if a reply did."""

    address: str
    verdict: Verdict
    reply: Reply | None = None

    @property
    def accepted(self) -> bool:
        """Whether the server took the message for this recipient."""
        return self.verdict.accepted


@dataclass(frozen=True)
class Transaction:
    """The outcome of one transaction, for the message and for each recipient.

    * ``stage``, ``reply``, ``verdict``: where it ended, the deciding reply and its meaning. With
      some recipients accepted and others refused they are those of the final dot.
    * ``accepted``: the server took the message for at least one recipient.
    * ``usable``: the session can carry another transaction.
    * ``abandoned``: ``before_final_dot`` said no; the dot was not written.
    * ``started``: reading of the session's clock; ``seconds``: how long it took.
    * ``mark``: where it begins in the dialogue (:meth:`Session.dialogue_since`).
    """

    stage: Stage
    reply: Reply | None
    verdict: Verdict
    recipients: tuple[RecipientResult, ...]
    accepted: bool
    usable: bool
    started: float
    seconds: float
    mark: int = 0
    abandoned: bool = False


class SessionError(SMTPAdminError):
    """No session could be opened: the stage, the verdict, and the reply or the cause behind it.

    ``failure`` names what went wrong when it was not a reply.
    """

    def __init__(
        self,
        stage: Stage,
        verdict: Verdict,
        reply: Reply | None = None,
        cause: BaseException | None = None,
        failure: Failure | None = None,
    ) -> None:
        super().__init__(verdict.summary if reply is None else f"{verdict.summary} ({reply})")
        self.stage = stage
        self.verdict = verdict
        self.reply = reply
        self.cause = cause
        self.failure = failure
