"""When the worker ticks: woken over RQ, by a thread of the process, or by the call itself.

Owns the choice, and ringing. Must not know messages: a wake-up says "there is work", no more, and
may be lost, doubled or late without harm.
"""

from __future__ import annotations

from .bells import Bells, onlooker, resolve

__all__ = ["Bells", "onlooker", "resolve"]
