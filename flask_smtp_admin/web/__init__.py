"""The pages: one blueprint, one module a page.

Owns the list of the page modules. Each registers its views when it is imported.
"""

from __future__ import annotations

from . import (
    connections,
    health,
    log,
    messages,
    overview,
    problems,
    queue,
    rendering,
    test,
)
from .access import blueprint

__all__ = [
    "blueprint",
    "connections",
    "health",
    "log",
    "messages",
    "overview",
    "problems",
    "queue",
    "rendering",
    "test",
]
