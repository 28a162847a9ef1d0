"""The web server of the example: a threaded one, on a socket that the supervisor opened.

Owns serving, and creating the tables before that. Run as ``python -m example_app.web``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from werkzeug.serving import WSGIRequestHandler, make_server

from .application import build
from .tables import db


class QuietHandler(WSGIRequestHandler):
    """Notes requests that failed, not each one."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write a line for a server error only."""
        if str(code).startswith("5"):
            super().log_request(code, size)


def serve(listening: int, ready: int) -> None:
    """Serve until SIGTERM or SIGINT.

    :param listening: descriptor of the listening socket.
    :param ready: descriptor that hears when requests are answered.
    """
    app = build()
    with app.app_context():
        db.create_all()
    server = make_server(
        "127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler, fd=listening
    )

    def end(number: int, frame: FrameType | None) -> None:
        # shutdown() waits for serve_forever(), which this very thread runs.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    os.write(ready, b"ready")
    os.close(ready)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
