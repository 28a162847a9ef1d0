"""A Flask application on a real port, for what only a browser or another process can show."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wsgi import ClosingIterator

from tests.servers.process import HOST

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

_CLOSE = "tests.close_response"


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  werkzeug's name
        pass

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """Close what Werkzeug leaves open when a browser goes on before it has the whole answer."""
        if environ and _CLOSE in environ:
            environ[_CLOSE]()


def _closed_once(application: WSGIApplication) -> WSGIApplication:
    """Keep the way to close a response, which ``connection_dropped`` would not know."""

    def run(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response = application(environ, start_response)
        closing = contextlib.ExitStack()
        closing.callback(getattr(response, "close", lambda: None))
        environ[_CLOSE] = closing.close
        return ClosingIterator((part for part in response), closing.close)

    return run


@contextlib.contextmanager
def served(application: WSGIApplication) -> Iterator[str]:
    """Serve the application from threads of this process: its URL, without a slash at the end."""
    server = make_server(HOST, 0, _closed_once(application), threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, name="served", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
