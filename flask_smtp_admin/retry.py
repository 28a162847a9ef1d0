"""When a message is tried again, and when a broken connection is.

Owns the two tables of delays. Pure: must not know the database, the clock or chance, which are
handed in.
"""

from __future__ import annotations

from datetime import datetime, timedelta

MESSAGE_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60, 120, 240, 480))
"""Waits after the first, second, … failed try: nine tries in about 16 hours.

RFC 5321 section 4.5.4.1 asks senders to wait and go on for days; greylisting servers accept after
1 to 15 minutes, and a person who waits for a message has given up after a day.
"""

JITTER = 0.1
"""Share by which a wait is made longer or shorter, so that retries do not come in a pack."""

FAILURES_TO_OPEN = 5
CONNECTION_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (5, 10, 20, 30))
"""Waits after the first failures of a connection, before it counts as broken."""
PROBE_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10))
"""Waits between the probes of a broken connection; the last one repeats."""


def next_attempt(now: datetime, attempt: int, chance: float) -> datetime:
    """Return when a message is tried after its failed try number ``attempt``, from 1.

    :param chance: a random number from 0 to 1.
    """
    delay = MESSAGE_DELAYS[min(attempt, len(MESSAGE_DELAYS)) - 1]
    return now + delay * (1 + JITTER * (2 * chance - 1))


def gives_up_at(next_at: datetime, attempt: int, max_attempts: int) -> datetime:
    """Return when the last try is due, when the next one is at ``next_at``.

    :param attempt: tries that have been spent.
    """
    last = len(MESSAGE_DELAYS)
    waits = (MESSAGE_DELAYS[min(n, last) - 1] for n in range(attempt + 1, max_attempts))
    try:
        return next_at + sum(waits, timedelta())
    except OverflowError:
        return next_at  # the end of the calendar


def next_probe(now: datetime, failures: int) -> datetime:
    """Return when a connection is tried again after ``failures`` failures in a row, from 1."""
    if failures < FAILURES_TO_OPEN:
        return now + CONNECTION_DELAYS[min(failures, len(CONNECTION_DELAYS)) - 1]
    return now + PROBE_DELAYS[min(failures - FAILURES_TO_OPEN, len(PROBE_DELAYS) - 1)]
