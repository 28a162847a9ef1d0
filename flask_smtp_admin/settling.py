"""What has to be looked at until an application is complete, and not with every request after that.

Owns the hooks into the application's contexts and first request, and noticing extensions that come
after this one. Must not know what is looked at.

A hook that runs with every request costs the application more than it may: Flask takes two
microseconds to call one that returns at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from flask import Flask, appcontext_pushed

from .forked import Forked


class Settling:
    """Looks at the application whenever a context begins, until its first request is over that.

    From then on it looks again only when another extension registers itself. Where the application
    is being tested it goes on: a test may keep one context open over its requests, and may give
    the application's other extensions something else to work with.

    :param look: what is done each time; it must not raise.
    :param serve: what is done at the first request of each process.
    """

    def __init__(
        self, app: Flask, look: Callable[[Flask], None], serve: Callable[[], None]
    ) -> None:
        self._app = weakref.ref(app)
        self._look = look
        self._serve = serve
        # The signal is global and holds it weakly, so that it goes with the application.
        appcontext_pushed.connect(self._begin_context, app)
        self._hook = self._begin_request
        app.before_request(self._hook)
        app.extensions = _Extensions(app.extensions, self._notice)
        _all.add(self)

    def _begin_context(self, sender: Flask, **_: object) -> None:
        self._look(sender)

    def _notice(self, _name: str) -> None:
        app = self._app()
        if app is not None:
            self._look(app)

    def _begin_request(self) -> None:
        app = self._app()
        assert app is not None
        self._look(app)
        self._serve()
        if not app.testing:
            self._leave(app)

    def _leave(self, app: Flask) -> None:
        appcontext_pushed.disconnect(self._begin_context, app)
        # Another request may be going through the old list, which therefore stays as it is.
        left = [hook for hook in app.before_request_funcs.get(None, ()) if hook is not self._hook]
        if left:
            app.before_request_funcs[None] = left
        else:
            app.before_request_funcs.pop(None, None)

    def come_back(self) -> None:
        """Have the first request of a process that was forked off noticed, too."""
        app = self._app()
        if app is not None and self._hook not in app.before_request_funcs.get(None, ()):
            app.before_request_funcs[None].insert(0, self._hook)


class _Extensions(dict[str, Any]):
    """The extensions of an application, which tell when one registers itself."""

    def __init__(self, known: dict[str, Any], notice: Callable[[str], None]) -> None:
        super().__init__(known)
        self._notice = notice

    def __setitem__(self, name: str, extension: Any) -> None:
        super().__setitem__(name, extension)
        self._notice(name)


_all = Forked(Settling.come_back)
