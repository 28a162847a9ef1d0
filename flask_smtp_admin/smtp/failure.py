"""What can go wrong without a reply that counts, and what each of it means.

Owns :class:`Failure` and its table of verdicts. Pure: it must not know sockets or settings; who
meets a failure names it, this module judges it.
"""

from __future__ import annotations

from enum import Enum

from flask_smtp_admin.smtp.reply import Outcome, Scope, Stage, Verdict


class Failure(str, Enum):
    """The ways in which a session or a transaction fails without a server's refusal."""

    NAME_NOT_FOUND = "name_not_found"
    NAME_LOOKUP_FAILED = "name_lookup_failed"
    ADDRESS_FORBIDDEN = "address_forbidden"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    DEADLINE = "deadline"
    CLOSED = "closed"
    RESET = "reset"
    REPLY_TOO_LONG = "reply_too_long"
    NONSENSE = "nonsense"
    TLS_EXPECTED = "tls_expected"
    TLS_NOT_SPOKEN = "tls_not_spoken"
    TLS_FAILED = "tls_failed"
    TLS_INJECTED = "tls_injected"
    STARTTLS_NOT_OFFERED = "starttls_not_offered"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_SELF_SIGNED = "certificate_self_signed"
    CERTIFICATE_UNKNOWN_CA = "certificate_unknown_ca"
    CERTIFICATE_WRONG_NAME = "certificate_wrong_name"
    CERTIFICATE_INVALID = "certificate_invalid"
    CA_UNREADABLE = "ca_unreadable"
    AUTH_NOT_OFFERED = "auth_not_offered"
    AUTH_NO_COMMON_MECHANISM = "auth_no_common_mechanism"
    AUTH_IN_CLEAR = "auth_in_clear"
    SMTPUTF8_NOT_OFFERED = "smtputf8_not_offered"
    MESSAGE_TOO_LARGE = "message_too_large"
    BAD_ENVELOPE = "bad_envelope"
    ABANDONED = "abandoned"
    STUMBLED = "stumbled"


class FailureMet(Exception):
    """Carries a :class:`Failure` up to the session, with a remark on the facts behind it."""

    def __init__(self, failure: Failure, remark: str = "") -> None:
        super().__init__(remark or failure.value)
        self.failure = failure
        self.remark = remark


_NETWORK = "Check host and port, and whether a firewall or the hosting provider blocks them."
_LASTING = "Nothing to change unless it lasts; it is tried again."
_PRIVATE_CA = "If it is right, enter it (or the CA behind it) as this connection's CA certificate."

# failure: (summary, advice). The link is gone or of no use after every one of them.
_LOST: dict[Failure, tuple[str, str]] = {
    Failure.NAME_LOOKUP_FAILED: (
        "The name of the server could not be looked up just now.",
        "Check this machine's DNS resolver.",
    ),
    Failure.REFUSED: (
        "No server listens on this port: the connection was refused.",
        "Check host and port, and whether the server runs.",
    ),
    Failure.UNREACHABLE: ("The server cannot be reached over the network.", _NETWORK),
    Failure.TIMED_OUT: ("The server did not answer in time.", _NETWORK),
    Failure.DEADLINE: ("The session took longer than it may.", _LASTING),
    Failure.CLOSED: ("The server closed the connection without a reply.", _LASTING),
    Failure.RESET: ("The connection was reset.", _LASTING),
    Failure.REPLY_TOO_LONG: (
        "The server's reply was too long to be one.",
        "Check that host and port are those of a mail server.",
    ),
    Failure.NONSENSE: (
        "What the server said is not SMTP.",
        "Check that host and port are those of a mail server.",
    ),
    Failure.STUMBLED: (
        "flask-smtp-admin stumbled over what the server said.",
        "The log has the traceback: this is an error of flask-smtp-admin itself; please report it.",
    ),
}

# failure: (summary, advice). Somebody has to change something before another try makes sense.
_WRONG: dict[Failure, tuple[str, str]] = {
    Failure.NAME_NOT_FOUND: (
        "There is no server of this name.",
        "Check the spelling of the host.",
    ),
    Failure.ADDRESS_FORBIDDEN: (
        "The host leads to an address that this application may not connect to.",
        "Use a mail server at another address, or ask whoever runs this application to allow it.",
    ),
    Failure.TLS_EXPECTED: (
        "This port speaks TLS from the first byte.",
        "Choose SSL/TLS as the encryption, or another port (587 for STARTTLS).",
    ),
    Failure.TLS_NOT_SPOKEN: (
        "This port does not speak TLS from the first byte.",
        "Choose STARTTLS as the encryption, or another port (465 for SSL/TLS).",
    ),
    Failure.TLS_FAILED: (
        "The TLS handshake failed.",
        "The server may be too old (TLS 1.2 is needed) or may want a client certificate.",
    ),
    Failure.TLS_INJECTED: (
        "Unencrypted text followed the start of TLS: somebody may be tampering.",
        "Do not use this network path; try SSL/TLS on port 465.",
    ),
    Failure.STARTTLS_NOT_OFFERED: (
        "The server does not offer STARTTLS, and unencrypted mail was not asked for.",
        "Try SSL/TLS on port 465 or port 587; something on the way may also have removed it.",
    ),
    Failure.CERTIFICATE_EXPIRED: (
        "The server's certificate has expired.",
        "Have the certificate renewed; check this machine's clock.",
    ),
    Failure.CERTIFICATE_NOT_YET_VALID: (
        "The server's certificate is not valid yet.",
        "Check this machine's clock.",
    ),
    Failure.CERTIFICATE_SELF_SIGNED: (
        "The server's certificate is self-signed, so nobody vouches for it.",
        _PRIVATE_CA,
    ),
    Failure.CERTIFICATE_UNKNOWN_CA: (
        "The server's certificate was issued by an authority that is not trusted here.",
        _PRIVATE_CA,
    ),
    Failure.CERTIFICATE_WRONG_NAME: (
        "The server's certificate is for another name.",
        "Enter the host by a name that is in the certificate.",
    ),
    Failure.CERTIFICATE_INVALID: (
        "The server's certificate cannot be verified.",
        "Ask the server's administrator to look at the certificate chain.",
    ),
    Failure.CA_UNREADABLE: (
        "The CA certificate of this connection cannot be read.",
        "Paste it as PEM text, from BEGIN CERTIFICATE to END CERTIFICATE.",
    ),
    Failure.AUTH_NOT_OFFERED: (
        "The server offers no login.",
        "Choose an encryption (many servers offer it only then), or switch authentication off.",
    ),
    Failure.AUTH_NO_COMMON_MECHANISM: (
        "The server offers no way to log in that this connection may use.",
        "Set the AUTH mechanism to automatic, or to one that the server offers.",
    ),
    Failure.AUTH_IN_CLEAR: (
        "The password would travel unencrypted.",
        "Choose STARTTLS or SSL/TLS; or allow the login without TLS if the network is trusted.",
    ),
}

# failure: (summary, advice). Found on our side, about this message alone.
_OF_MESSAGE: dict[Failure, tuple[str, str]] = {
    Failure.SMTPUTF8_NOT_OFFERED: (
        "The message has an internationalised address, and the server cannot carry it (5.6.7).",
        "Use an address in plain letters, or a connection whose server offers SMTPUTF8.",
    ),
    Failure.MESSAGE_TOO_LARGE: (
        "The message is larger than the server takes (5.3.4).",
        "Send it with smaller attachments, or through another connection.",
    ),
    Failure.BAD_ENVELOPE: (
        "An address of the message cannot be written as an SMTP command.",
        "Send the message again with correct addresses.",
    ),
}


def judge_failure(stage: Stage, failure: Failure, *, dot_written: bool = False) -> Verdict:
    """What *failure* at *stage* means.

    *dot_written* says that the final dot had left when it happened: then nobody knows whether the
    message was accepted, and the verdict is ``uncertain``.
    """
    if dot_written:
        return _uncertain(stage, failure)
    if failure is Failure.ABANDONED:
        return Verdict(
            Outcome.TEMPORARY,
            Scope.CONNECTION,
            stage,
            "The sending was given up before the end of the message: another worker has it now.",
            reconnect=True,
        )
    if failure in _OF_MESSAGE:
        summary, advice = _OF_MESSAGE[failure]
        return Verdict(Outcome.PERMANENT, Scope.MESSAGE, stage, summary, advice)
    lost = failure in _LOST
    summary, advice = _LOST[failure] if lost else _WRONG[failure]
    outcome = Outcome.TEMPORARY if lost else Outcome.PERMANENT
    return Verdict(outcome, Scope.CONNECTION, stage, summary, advice, reconnect=True)


def _uncertain(stage: Stage, failure: Failure) -> Verdict:
    what = _LOST[failure][0].rstrip(".") if failure in _LOST else "The connection was lost"
    return Verdict(
        Outcome.TEMPORARY,
        Scope.MESSAGE,
        stage,
        f"{what}, after the whole message was sent: it may have been accepted.",
        "If it matters that nobody gets it twice, ask the recipient before sending it again.",
        uncertain=True,
        reconnect=True,
    )
