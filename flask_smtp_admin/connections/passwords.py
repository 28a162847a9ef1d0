"""Which passwords a connection may have.

Owns the strict policy and the sentence for a password that breaks it. Pure: must not know where
passwords are stored, nor ever name one in an error.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import pairwise

from flask_smtp_admin.smtp.text import has_control
from flask_smtp_admin.wording import agreeing, listed

REFUSED = "The SMTP account password does not meet the rules."
CONTROL = "The password holds a control character, a line break for instance. Enter it again."
TOO_LONG = "Please enter a password within 1,000 characters."
UNEQUAL = "The two passwords are not the same. Enter both again."
MISSING = "Please enter the password, or switch SMTP authentication off."
MAX_LENGTH = 1000
STRICT_RULES = (
    "10 to 20 characters",
    "at least one upper-case letter, one lower-case letter, one digit and one of $ ! @ % * # ? &",
    "no character twice in a row",
    "no three neighbours of the alphabet, the digits or a keyboard row, in either direction",
)

_SPECIAL = frozenset("$!@%*#?&")
_ROWS = (
    string.ascii_lowercase,
    string.digits,
    "`1234567890-=",
    "~!@#$%^&*()_+",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
)
_RUNS = frozenset(
    run
    for row in _ROWS
    for start in range(len(row) - 2)
    for run in (row[start : start + 3], row[start : start + 3][::-1])
)


def objection(password: str, policy: str) -> str:
    """Return why a password may not be stored, or nothing.

    :param policy: ``any`` or ``strict``, see ``SMTP_ADMIN_PASSWORD_POLICY``.
    """
    if has_control(password):
        return CONTROL
    if len(password) > MAX_LENGTH:
        return TOO_LONG
    return REFUSED if policy == "strict" and not is_strict(password) else ""


def again(changed: Sequence[str]) -> str:
    """Return why the stored password is asked for again.

    :param changed: what else was changed, in words: ``host``, ``port``.
    """
    names = listed(f"the {name}" for name in changed)
    have = agreeing(len(changed), "has", "have")
    return (
        f"Please enter the password again: {names} {have} changed, and the stored password is "
        "only sent where it was meant to go."
    )


def is_strict(password: str) -> bool:
    """Tell whether a password keeps all :data:`STRICT_RULES`."""
    return (
        10 <= len(password) <= 20
        and any(c in string.ascii_uppercase for c in password)
        and any(c in string.ascii_lowercase for c in password)
        and any(c in string.digits for c in password)
        and any(c in _SPECIAL for c in password)
        and not any(one == following for one, following in pairwise(password))
        and not _has_run(password.lower())
    )


def _has_run(text: str) -> bool:
    return any(text[start : start + 3] in _RUNS for start in range(len(text) - 2))
