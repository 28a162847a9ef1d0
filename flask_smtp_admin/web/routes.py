"""The addresses of the pages: which view answers each, and who may see it.

Owns that list, and who answers when something goes wrong. Must not know what a page shows: its
module is imported when it is first asked for.
"""

from __future__ import annotations

from flask_smtp_admin.errors import ConfigurationError, OutboxUnavailable, SecretUnreadable

from .access import OPEN, PROBE, CSRFFailed, blueprint, later, route

POST = ("POST",)
GET_POST = ("GET", "POST")
EVERY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE")

route("/", "overview", "overview_show", action="view")
route("/health", "health", "health_show", action=PROBE)
route("/brand.css", "rendering", "brand", action=OPEN)

route("/connections/", "connections", "connections_list", action="view")
route("/connections/new", "connections", "connections_new", action="configure", methods=GET_POST)
_ONE = "/connections/<int:connection_id>"
route(f"{_ONE}/", "connections", "connections_edit", action="configure", methods=GET_POST)
route(f"{_ONE}/enable", "connections", "connections_enable", action="configure", methods=POST)
route(f"{_ONE}/disable", "connections", "connections_disable", action="configure", methods=POST)
route(f"{_ONE}/move", "connections", "connections_move", action="configure", methods=POST)
route(f"{_ONE}/clone", "connections", "connections_clone", action="configure", methods=POST)
route(f"{_ONE}/delete", "connections", "connections_delete", action="configure", methods=GET_POST)
route(f"{_ONE}/test", "test", "test_show", action="test", methods=GET_POST)
route(f"{_ONE}/form/test", "test", "test_edit", action="test", methods=POST)
route("/connections/new/test", "test", "test_new", action="test", methods=POST)

route("/queue/", "queue", "queue_list", action="view")
route("/queue/", "queue", "queue_act", action="operate", methods=POST)
route("/messages/<int:number>", "messages", "messages_show", action="view")
route("/messages/<int:number>", "messages", "messages_act", action="operate", methods=POST)
route("/messages/<int:number>/delete", "messages", "messages_delete", action="operate")
route("/log/", "log", "log_list", action="view")

# Every address below ours that no page has, so that 404 looks like one of us.
route("/<path:path>", "problems", "nowhere", action="view", methods=EVERY_METHOD)

blueprint.register_error_handler(400, later("problems", "bad_request"))
blueprint.register_error_handler(403, later("problems", "refused"))
blueprint.register_error_handler(404, later("problems", "not_found"))
blueprint.register_error_handler(CSRFFailed, later("problems", "token_lost"))
blueprint.register_error_handler(OutboxUnavailable, later("problems", "outbox_unavailable"))
blueprint.register_error_handler(SecretUnreadable, later("problems", "secret_unreadable"))
blueprint.register_error_handler(ConfigurationError, later("problems", "wrong_setting"))
blueprint.context_processor(later("rendering", "context"))
