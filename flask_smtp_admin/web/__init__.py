"""The pages: one blueprint, one module a page.

Owns nothing but what the rest of the package needs of them.
"""

from __future__ import annotations

from . import routes
from .access import blueprint

__all__ = ["blueprint", "routes"]
