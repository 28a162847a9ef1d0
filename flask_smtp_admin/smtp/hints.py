"""Likely causes: what a failed stage usually comes from, and what to change, in which order.

Owns the table of hints, general ones and those of well-known providers. Pure: it must not connect
to anything. Sources: the providers' help pages on SMTP (Google "Sign in with app passwords",
Microsoft "Authenticated client SMTP submission", Amazon SES "SMTP credentials", Twilio SendGrid
"Integrating with the SMTP API").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from flask_smtp_admin.smtp.failure import Failure
from flask_smtp_admin.smtp.reply import Reply, Stage, Verdict
from flask_smtp_admin.smtp.settings import Endpoint


class Advice(NamedTuple):
    """A likely cause in one sentence, and what to do, the most promising first."""

    cause: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Trouble:
    """What is known of a failed stage."""

    endpoint: Endpoint
    stage: Stage
    verdict: Verdict
    reply: Reply | None = None
    failure: Failure | None = None

    def host_is(self, pattern: str) -> bool:
        """Whether the host is in one of the domains of *pattern*."""
        return re.search(rf"(^|\.)({pattern})\.?$", self.endpoint.host, re.IGNORECASE) is not None

    def says(self, pattern: str) -> bool:
        """Whether the server's reply, code and words, matches *pattern*."""
        return self.reply is not None and (
            re.search(pattern, str(self.reply), re.IGNORECASE) is not None
        )


def advise(trouble: Trouble) -> Advice:
    """The first hint that fits, else what the verdict says."""
    for hint in _HINTS:
        if hint.applies(trouble):
            return Advice(hint.cause, hint.steps)
    verdict = trouble.verdict
    return Advice(verdict.summary, (verdict.advice,) if verdict.advice else ())


_GOOGLE = r"gmail\.com|googlemail\.com|google\.com"
_MICROSOFT = r"office365\.com|outlook\.com|hotmail\.com"
_WANTS_OTHER_LOGIN = r"yahoo\.com|aol\.com|me\.com|icloud\.com|zoho\.com|zoho\.eu|fastmail\.com"


def _no_connection(trouble: Trouble) -> bool:
    return trouble.stage is Stage.CONNECT and trouble.failure in {
        Failure.TIMED_OUT,
        Failure.UNREACHABLE,
    }


def _login_refused(trouble: Trouble) -> bool:
    return trouble.stage is Stage.AUTH and trouble.says(r"^5(34|35|54|50)")


class _Hint(NamedTuple):
    applies: Callable[[Trouble], bool]
    cause: str
    steps: tuple[str, ...]


_HINTS: tuple[_Hint, ...] = (
    # -- the wrong kind of encryption for the port
    _Hint(
        lambda t: t.failure is Failure.TLS_EXPECTED,
        "This port speaks TLS from the first byte, so the server waits for what never comes.",
        (
            "Choose SSL/TLS as the encryption.",
            "Or use the port for STARTTLS, mostly 587.",
        ),
    ),
    _Hint(
        lambda t: t.failure is Failure.TLS_NOT_SPOKEN,
        "This port starts unencrypted, but the connection is set to TLS from the first byte.",
        (
            "Choose STARTTLS as the encryption.",
            "Or use the port for SSL/TLS, mostly 465.",
        ),
    ),
    _Hint(
        lambda t: (
            t.says("starttls|must issue|encryption (is )?required") and t.verdict.opens_breaker
        ),
        "The server takes mail and logins only over an encrypted connection.",
        ("Choose STARTTLS as the encryption (port 587), or SSL/TLS (port 465).",),
    ),
    # -- getting there at all
    _Hint(
        lambda t: _no_connection(t) and t.endpoint.port == 25,
        "Most hosting providers and many networks block outgoing connections to port 25.",
        (
            "Use port 587 with STARTTLS, or port 465 with SSL/TLS.",
            "Ask the hosting provider to open port 25, if the server offers nothing else.",
            "Check host and firewall.",
        ),
    ),
    _Hint(
        _no_connection,
        "Nothing answers at this host and port: a firewall drops the packets, or it is the wrong "
        "address.",
        (
            "Check host and port.",
            "Check the firewalls of this machine, its network and the server.",
            "Ask the hosting provider whether outgoing mail ports are open.",
        ),
    ),
    _Hint(
        lambda t: t.stage is Stage.CONNECT and t.failure is Failure.REFUSED,
        "The machine is there, but no mail server listens on this port.",
        (
            "Check the port: 587 for STARTTLS, 465 for SSL/TLS, 25 between servers.",
            "Check that the mail server runs, and listens on more than its own loopback.",
        ),
    ),
    _Hint(
        lambda t: t.failure is Failure.NAME_NOT_FOUND,
        "The DNS knows no server of this name.",
        (
            "Check the spelling of the host.",
            "Enter the name of the mail server (often smtp.… or mail.…), not the mail domain.",
        ),
    ),
    _Hint(
        lambda t: t.failure is Failure.CERTIFICATE_WRONG_NAME,
        "The server shows a certificate for another name than the host that was entered.",
        (
            "Enter the host by the name that the provider gives, not by an address or an alias.",
            "Have the server's certificate issued for this name too.",
        ),
    ),
    # -- logins at well-known providers
    _Hint(
        lambda t: _login_refused(t) and t.host_is(_GOOGLE),
        "Google takes no account passwords over SMTP.",
        (
            "Switch 2-step verification on, make an app password, and enter that one.",
            "Or choose XOAUTH2 and enter an access token.",
            "Enter the whole e-mail address as the username.",
        ),
    ),
    _Hint(
        lambda t: (
            t.stage is Stage.AUTH and t.says(r"5\.7\.139|SmtpClientAuthentication is disabled")
        ),
        "Microsoft 365 has SMTP AUTH switched off for this mailbox or for the whole organisation.",
        (
            "Switch on 'Authenticated SMTP' for the mailbox in the Microsoft 365 admin center.",
            "Check that security defaults or a conditional access policy do not forbid it.",
            "Choose XOAUTH2 where basic authentication has been retired.",
        ),
    ),
    _Hint(
        lambda t: _login_refused(t) and t.host_is(_MICROSOFT),
        "Microsoft refused the login: the password, or logins with a password altogether.",
        (
            "Enter the whole e-mail address as the username, and check the password.",
            "Check that SMTP AUTH is switched on for the mailbox.",
            "Choose XOAUTH2 where basic authentication has been retired.",
        ),
    ),
    _Hint(
        lambda t: _login_refused(t) and t.host_is(_WANTS_OTHER_LOGIN),
        "This provider wants an app password instead of the account's password.",
        (
            "Make an app password in the account's security settings and enter that one.",
            "Enter the whole e-mail address as the username.",
        ),
    ),
    _Hint(
        lambda t: _login_refused(t) and t.host_is(r"amazonaws\.com"),
        "Amazon SES has SMTP credentials of its own; AWS access keys do not work.",
        (
            "Make SMTP credentials in the SES console, for the region of this host.",
            "Check that they were not made for another region.",
        ),
    ),
    _Hint(
        lambda t: _login_refused(t) and t.host_is(r"sendgrid\.net"),
        "SendGrid's username is the word apikey, and the password is an API key.",
        ("Enter apikey as the username.", "Enter an API key that may send mail as the password."),
    ),
    _Hint(
        _login_refused,
        "The username or the password is wrong, or the provider wants an app password.",
        (
            "Enter the password again; the username is often the whole e-mail address.",
            "Look in the provider's settings for app passwords or SMTP access.",
            "Choose another AUTH mechanism if the server's words ask for it.",
        ),
    ),
    _Hint(
        lambda t: t.failure is Failure.AUTH_NOT_OFFERED and t.endpoint.encryption == "none",
        "Most servers offer the login only over an encrypted connection.",
        (
            "Choose STARTTLS (port 587) or SSL/TLS (port 465).",
            "Switch authentication off if the server takes mail without it.",
        ),
    ),
    # -- sender and recipient
    _Hint(
        lambda t: t.says(r"5\.7\.60|send ?as"),
        "This login may not send from this address.",
        (
            "Use the login's own address as the sender.",
            "Or give the login the 'send as' right for the address.",
        ),
    ),
    _Hint(
        lambda t: t.says(r"not verified") and t.host_is(r"amazonaws\.com"),
        "Amazon SES only sends from, and in its sandbox to, verified addresses.",
        (
            "Verify the sender's domain or address in the SES console.",
            "Ask for production access to send to everybody.",
        ),
    ),
    _Hint(
        lambda t: t.stage is Stage.RCPT and t.says("relay") and not t.endpoint.use_auth,
        "Without a login the server takes mail only for its own domains.",
        (
            "Switch authentication on and enter username and password.",
            "Or have the server allow this machine's address to relay.",
        ),
    ),
)
