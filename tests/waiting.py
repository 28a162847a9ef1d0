"""Waiting for a condition: the only way in which a test lets time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# A bound for what should take milliseconds: reached only when something is broken, so that it may
# be far above what a loaded machine needs.
GENEROUS_SECONDS = 90.0


class ConditionNotMet(AssertionError):
    """What was waited for did not happen within the bound."""


def wait_until(
    condition: Callable[[], T], *, timeout: float = GENEROUS_SECONDS, what: str = "the condition"
) -> T:
    """Poll ``condition`` until it is true and return what it returned.

    :param timeout: seconds until the wait fails.
    :param what: what is waited for, for the failure's sentence.
    :raises ConditionNotMet: after ``timeout`` seconds; an assertion error, so that the test fails.
    """
    deadline = time.monotonic() + timeout
    pause = 0.002
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise ConditionNotMet(f"waited {timeout:g} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return result
