"""django-post_office with the settings under which it delivers fastest.

Batches of 100 to 5,000, 1 to 10 threads and 1 or 2 processes were tried: beyond 1,000 and 2 threads
no difference stood out from the noise. It writes no log, which is the least work.
"""

from __future__ import annotations

import logging
from typing import Any

from benchmarks.django_host import set_up
from benchmarks.message import HTML, RECIPIENT, TEXT, subject

BEST = {"BATCH_SIZE": 1000, "THREADS_PER_PROCESS": 4, "LOG_LEVEL": 0}


def start(database: str, *, port: int = 25) -> None:
    """Set Django up with it; it prints what it does, which costs it time, unless it is told not to."""
    set_up(database, "post_office", port=port, POST_OFFICE=BEST)
    import post_office.mail  # noqa: F401  (its import adds log handlers)

    logging.getLogger("post_office").setLevel(logging.ERROR)


def message(number: int) -> dict[str, Any]:
    """Return what ``mail.send`` is given for a message."""
    return {
        "recipients": [RECIPIENT],
        "subject": subject(number),
        "message": TEXT,
        "html_message": HTML,
    }
