"""The pages: one blueprint, one module a page.

Owns the list of the page modules. Each registers its views when it is imported.
"""

from __future__ import annotations

from . import problems, rendering
from .access import blueprint

__all__ = ["blueprint", "problems", "rendering"]
