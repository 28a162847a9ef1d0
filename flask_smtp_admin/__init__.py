"""Mail administration for Flask: an outbox that loses nothing, and pages to see and steer it.

What is named here is public; everything else is internal and may change.
"""

from __future__ import annotations

from . import errors, signals
from .errors import SMTPAdminError
from .extension import SMTPAdmin
from .mail import Mail
from .outbox import OutboxMessage

__all__ = ["Mail", "OutboxMessage", "SMTPAdmin", "SMTPAdminError", "errors", "signals"]
