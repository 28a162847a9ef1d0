"""The table of what servers mean by their refusals.

Owns the rules and their sentences, and nothing else: how they are applied is
:func:`flask_smtp_admin.smtp.judging.judge`. Sources: RFC 5321 section 4.2, RFC 3463, RFC 4954
section 6, and the replies that Google, Microsoft and Amazon publish for their senders' limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask_smtp_admin.smtp.reply import Outcome, Reply, Scope, Stage

_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY})

_TEMPORARY = Outcome.TEMPORARY
_PERMANENT = Outcome.PERMANENT

# Words that speak of how much this connection sends. "quota" alone is not among them: a full
# mailbox says "over quota" too.
_RATE_WORDS = (
    r"rate.?limit|throttl|sending rate|too many (messages|emails|mails|connections)"
    r"|too much mail|unusual rate|slow down|concurrent connections|connections? limit"
)
_QUOTA_WORDS = (
    r"(daily|hourly|monthly|sending|submission|message) ?(sending |message )?"
    r"(quota|limit|credits)|maximum credits"
)
_LOGIN_WORDS = r"authenticat|log ?in|credentials"


@dataclass(frozen=True)
class Rule:
    """A row: which replies it speaks of, and the verdict. The first row that matches counts.

    ``codes`` and ``enhanced`` are patterns of the whole code; ``words`` is searched for in the
    text. ``scope`` and ``outcome`` are the stage's and the first digit's unless given.
    """

    stages: frozenset[Stage]
    codes: str
    summary: str
    advice: str = ""
    enhanced: str = ""
    words: str = ""
    scope: Scope | None = None
    outcome: Outcome | None = None
    quota: bool = False
    opens_breaker: bool = False
    next_transaction: bool = False
    reconnect: bool = False

    def matches(self, stage: Stage, reply: Reply) -> bool:
        """Whether the row speaks of *reply* at *stage*."""
        return (
            stage in self.stages
            and re.fullmatch(self.codes, str(reply.code)) is not None
            and (not self.enhanced or re.fullmatch(self.enhanced, reply.enhanced or "") is not None)
            and (not self.words or re.search(self.words, reply.text, re.IGNORECASE) is not None)
        )


def _quota(
    codes: str, *, stages: frozenset[Stage] = _TRANSACTION, enhanced: str = "", words: str = ""
) -> Rule:
    return Rule(
        stages,
        codes,
        "The server limits how much this connection may send; it is paused.",
        "Wait, lower the limits of this connection, or ask the provider for a larger quota.",
        scope=Scope.CONNECTION,
        outcome=_TEMPORARY,
        quota=True,
        enhanced=enhanced,
        words=words,
    )


def _login(
    stages: frozenset[Stage], codes: str, summary: str, *, enhanced: str = "", words: str = ""
) -> Rule:
    return Rule(
        stages,
        codes,
        summary,
        "Check the username and the password, and whether the provider wants an app password.",
        scope=Scope.CONNECTION,
        outcome=_PERMANENT,
        opens_breaker=True,
        enhanced=enhanced,
        words=words,
    )


_ANY = frozenset(Stage)
_AUTH = frozenset({Stage.AUTH})
_MAIL = frozenset({Stage.MAIL})
_RCPT = frozenset({Stage.RCPT})
_CONTENT = frozenset({Stage.DATA, Stage.BODY})
_SIZED = _MAIL | _CONTENT

RULES: tuple[Rule, ...] = (
    # -- limits of the connection: they come first, as their codes are those of other things too
    _quota("421", stages=_ANY, words=_RATE_WORDS),
    _quota("432", stages=_ANY),
    _quota("55[04]", enhanced=r"5\.4\.5"),
    _quota("454", enhanced=r"4\.7\.0"),
    _quota("452", stages=_MAIL, enhanced=r"4\.2\.\d+"),
    _quota("4..", stages=_ANY - _AUTH, enhanced=r"4\.7\.\d+|4\.3\.2|", words=_RATE_WORDS),
    _quota("4..", stages=_AUTH, words=_RATE_WORDS),
    _quota("[45]..", enhanced=r"[45]\.[0347]\.\d+|", words=_QUOTA_WORDS),
    _quota("5..", words="SubmissionQuotaExceeded"),
    # -- the server is leaving
    Rule(
        _ANY,
        "421",
        "The server closes the session for now.",
        "Nothing to change unless it lasts; mail waits and is tried again.",
        scope=Scope.CONNECTION,
        reconnect=True,
    ),
    # -- before a transaction
    Rule(
        frozenset({Stage.GREETING, Stage.EHLO}),
        "5..",
        "The server refuses connections from this machine.",
        "Ask the server's administrator to allow this machine's address, or use another relay.",
    ),
    Rule(
        frozenset({Stage.TLS}),
        "...",
        "The server does not start TLS.",
        "Try SSL/TLS on port 465, or ask the server's administrator about its certificate.",
    ),
    Rule(
        _AUTH,
        "4..",
        "The server cannot check the login just now.",
        "Nothing to change unless it lasts; it is tried again.",
    ),
    _login(
        _AUTH,
        "534",
        "The server wants a stronger or an application-specific login.",
    ),
    Rule(
        _AUTH,
        "538",
        "The server wants encryption before a login.",
        "Choose STARTTLS or SSL/TLS for this connection.",
        opens_breaker=True,
    ),
    Rule(
        _AUTH,
        "50[0-4]",
        "The server does not take this way to log in.",
        "Choose another AUTH mechanism, or switch authentication off.",
    ),
    _login(_AUTH, "5..", "The server refused the username or the password."),
    Rule(
        _TRANSACTION,
        "530",
        "The server wants encryption before it takes mail.",
        "Choose STARTTLS or SSL/TLS for this connection.",
        words="starttls|encrypt",
        scope=Scope.CONNECTION,
        opens_breaker=True,
    ),
    _login(
        _TRANSACTION,
        "53[0458]",
        "The server wants a login before it takes mail.",
    ),
    _login(
        _MAIL,
        "55[04]",
        "The server wants a login before it takes mail.",
        enhanced=r"5\.7\.[018]|",
        words=_LOGIN_WORDS,
    ),
    # -- MAIL: what speaks of this one message
    Rule(
        _SIZED,
        "552|5..",
        "The message is larger than the server takes.",
        "Send it with smaller attachments, or through another connection.",
        enhanced=r"5\.3\.4|5\.2\.3",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _SIZED,
        "552",
        "The message is larger than the server takes.",
        "Send it with smaller attachments, or through another connection.",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _MAIL,
        "5..",
        "The server cannot take internationalised addresses.",
        "Use an address in plain letters, or a connection whose server offers SMTPUTF8.",
        enhanced=r"5\.6\.7",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _MAIL,
        "4..",
        "The server cannot accept this sender address just now.",
        "Check that the sender's domain exists in the DNS.",
        enhanced=r"4\.1\.\d+",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _MAIL,
        "5..",
        "The server refuses this sender address.",
        "Use a sender address that this login may send from.",
        enhanced=r"5\.1\.\d+|5\.7\.1|5\.7\.60|5\.2\.252",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _MAIL,
        "553|5..",
        "The server refuses this sender address.",
        "Use a sender address that this login may send from.",
        words=r"sender|return.?path|mail from|from address|send ?as",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _MAIL,
        "553",
        "The server refuses this sender address.",
        "Use a sender address that this login may send from.",
        scope=Scope.MESSAGE,
    ),
    Rule(
        _MAIL,
        "501|555",
        "The server does not understand the sender address or its parameters.",
        "Check the sender address.",
        scope=Scope.MESSAGE,
    ),
    # -- RCPT: this recipient
    Rule(
        _RCPT,
        "45.",
        "The server takes no more recipients in one transaction; the others follow in the next.",
        enhanced=r"4\.5\.3",
        next_transaction=True,
    ),
    Rule(
        _RCPT,
        "4..|552",
        "The server takes no more recipients in one transaction; the others follow in the next.",
        words="too many recipients",
        outcome=_TEMPORARY,
        next_transaction=True,
    ),
    Rule(
        _RCPT | _CONTENT,
        "4..",
        "The server asks us to come back later (greylisting).",
        "Nothing to change: it is tried again.",
        words="gr[ae]y.?list",
    ),
    Rule(
        _RCPT,
        "45[01]",
        "The server asks us to come back later (greylisting).",
        "Nothing to change: it is tried again.",
        enhanced=r"4\.7\.1",
    ),
    Rule(
        _RCPT,
        "4..",
        "The recipient's mailbox is full or not reachable just now.",
        enhanced=r"4\.2\.\d+",
    ),
    Rule(
        _RCPT,
        "5..",
        "The recipient's mailbox is full.",
        "Ask the recipient to make room.",
        enhanced=r"5\.2\.2",
    ),
    Rule(
        _RCPT,
        "5..",
        "The recipient's mailbox is disabled.",
        "Check the address with the recipient.",
        enhanced=r"5\.2\.\d+",
    ),
    Rule(
        _RCPT,
        "5..",
        "The recipient's address does not exist there.",
        "Check the address.",
        enhanced=r"5\.1\.(0|1|3|6|10)|5\.4\.1",
    ),
    Rule(
        _RCPT,
        "5..",
        "The recipient's domain takes no mail or does not exist.",
        "Check the part of the address after the @.",
        enhanced=r"5\.1\.2|5\.4\.4",
    ),
    Rule(
        _RCPT,
        "5..",
        "The server does not relay mail to this recipient for us.",
        "Switch authentication on, or use a connection whose server sends to other domains.",
        words=r"\brelay",
    ),
    Rule(
        _RCPT,
        "5..",
        "The server's policy refuses mail to this recipient.",
        "The server's words say which policy it is.",
        enhanced=r"5\.7\.\d+",
    ),
    Rule(
        _RCPT,
        "50[0-4]|553|555",
        "The server does not understand the recipient's address.",
        "Check the address.",
    ),
    Rule(_RCPT, "4..", "The server cannot take mail for this recipient just now."),
    Rule(_RCPT, "5..", "The server refuses this recipient.", "Check the address."),
    # -- DATA and the reply to the dot: this message
    Rule(
        _CONTENT,
        "5..",
        "The sender's domain does not vouch for this server (SPF, DKIM or DMARC).",
        "Have the sender's domain allow this server, or use a connection of that domain.",
        words=r"\b(spf|dkim|dmarc)\b|5\.7\.26|unauthenticated (mail|email)",
    ),
    Rule(
        _CONTENT,
        "5..",
        "The server's policy refuses this message, often as unwanted mail.",
        "Read the server's words; look at the content, the links and the sender's reputation.",
        enhanced=r"5\.7\.\d+",
    ),
    Rule(
        _CONTENT,
        "5..",
        "The server refuses the form or the content of this message.",
        "Read the server's words; an attachment or a header may be the reason.",
        enhanced=r"5\.6\.\d+",
    ),
    Rule(_CONTENT, "4..", "The server cannot take this message just now."),
    Rule(_CONTENT, "5..", "The server refuses this message.", "Read the server's words."),
)
