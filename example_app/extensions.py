"""The Flask extensions of the shop, made once and given their application later.

Owns the objects that the views and the factory share.
"""

from __future__ import annotations

import flask_mail
from flask_wtf.csrf import CSRFProtect

from flask_smtp_admin import SMTPAdmin

smtp_admin = SMTPAdmin()
mail = flask_mail.Mail()
"""A plain Flask-Mail: its messages go through the outbox all the same."""
csrf = CSRFProtect()
