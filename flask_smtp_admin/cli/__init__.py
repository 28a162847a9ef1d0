"""``flask smtp-admin``: the outbox from the command line.

Owns the group; each module adds its commands to it. Must not do anything that the pages could not:
both call the same functions.
"""

from __future__ import annotations

from .group import smtp_admin_cli

__all__ = ["smtp_admin_cli"]
