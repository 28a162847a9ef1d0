"""A Flask application on a real port, for what only a browser or another process can show."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.servers.process import HOST

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  werkzeug's name
        pass


@contextlib.contextmanager
def served(application: WSGIApplication) -> Iterator[str]:
    """Serve the application from threads of this process: its URL, without a slash at the end."""
    server = make_server(HOST, 0, application, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, name="served", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
