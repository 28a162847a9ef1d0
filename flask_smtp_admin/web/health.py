"""``/health``: whether mail goes out, for monitoring: JSON, with 200 or 503.

Owns the answer's form. It is open to the bearer token of ``SMTP_ADMIN_PROBE_TOKEN``, and to whom
the host allows ``view``.
"""

from __future__ import annotations

from flask import Response, current_app, jsonify

from flask_smtp_admin import metrics
from flask_smtp_admin.errors import ConfigurationError, OutboxUnavailable

from .access import core, state


def health_show() -> tuple[Response, int]:
    """Report how the outbox fares; 503 while something keeps messages back."""
    try:
        snapshot = metrics.take(core(), state().dispatch)
    except (OutboxUnavailable, ConfigurationError) as error:
        current_app.logger.error("The outbox cannot be used: %s", error)  # noqa: TRY400
        return jsonify(metrics.unusable(error)), 503
    return jsonify(metrics.as_data(snapshot)), 200 if snapshot.healthy else 503
