"""What can go wrong without a reply that counts, and what each of it means.

Owns :class:`Failure` and its table of verdicts. Pure: it must not know sockets or settings; who
meets a failure names it, this module judges it.
"""

from __future__ import annotations

from enum import Enum

from flask_smtp_admin.smtp.reply import Stage, Verdict


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


def judge_failure(stage: Stage, failure: Failure, *, dot_written: bool = False) -> Verdict:
    """What *failure* at *stage* means.

    *dot_written* says that the final dot had left when it happened: then nobody knows whether the
    message was accepted, and the verdict is ``uncertain``.
    """
    raise NotImplementedError
