"""The search language of the queue and the log.

Must not know Flask: the pages and the command line hand it a text.
"""

from __future__ import annotations

from .language import (
    Known,
    Language,
    NotUnderstood,
    Obstacle,
    Search,
    Term,
    Word,
    among,
    read,
    term,
)
from .lists import ATTEMPTS, FLIGHTS, MESSAGES

__all__ = [
    "ATTEMPTS",
    "FLIGHTS",
    "MESSAGES",
    "Known",
    "Language",
    "NotUnderstood",
    "Obstacle",
    "Search",
    "Term",
    "Word",
    "among",
    "read",
    "term",
]
