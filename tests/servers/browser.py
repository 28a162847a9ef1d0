"""Chromium, driven by Playwright: pages as a person meets them.

A page of these fixtures asks nobody but loopback, and its test fails when the browser reports an
error, so that a blocked script or a missing file cannot pass unseen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

from tests.servers.process import find_program

HINT = "Chromium is not installed: apt-get install chromium-headless-shell"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
FLAGS = [
    "--no-sandbox",  # the tests may run as root, where the sandbox refuses to
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# WCAG 2.2 up to level AA, and what axe-core calls good practice.
ACCESSIBILITY_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextlib.contextmanager
def launch() -> Iterator[Browser]:
    """A headless Chromium.

    :raises ServerMissing: none is installed.
    """
    program = find_program(
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        hint=HINT,
        folders=["/usr/lib/chromium"],
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What went wrong in a page, in the browser's words.

    ``allow`` takes a part of a message that a test provokes on purpose, such as the console line
    about the 403 which it asks for.
    """

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._allowed: list[str] = []

    @property
    def problems(self) -> list[str]:
        """The problems that nobody allowed."""
        return [
            problem
            for problem in self._problems
            if not any(part in problem for part in self._allowed)
        ]

    def allow(self, part: str) -> None:
        """Let problems pass that contain ``part``."""
        self._allowed.append(part)

    def follow(self, page: Page) -> None:
        """Watch this page: console, uncaught exceptions, requests."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._problems.append(f"exception: {error}"))

    def guard(self, route: Route) -> None:
        """Let a request to loopback through, and refuse and note every other one."""
        url = route.request.url
        if urlsplit(url).hostname in LOOPBACK or url.startswith(("data:", "blob:", "about:")):
            route.continue_()
        else:
            self._problems.append(f"request to another host: {url}")
            route.abort()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = message.location.get("url", "")
            self._problems.append(f"console: {message.text} ({where})")


@contextlib.contextmanager
def watched_page(
    browser: Browser, *, javascript: bool = True, dark: bool = False, width: int = 1280
) -> Iterator[tuple[Page, Watch]]:
    """A page in a context of its own; leaving the block fails on any problem it had.

    :param javascript: off shows what works without it.
    :param dark: prefer the dark colours.
    :param width: of the window, in CSS pixels; the height follows.
    """
    context = browser.new_context(
        java_script_enabled=javascript,
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": 800 if width >= 600 else 740},
        reduced_motion="reduce",
    )
    watch = Watch()
    context.route("**/*", watch.guard)
    context.on("page", watch.follow)
    try:
        yield context.new_page(), watch
    finally:
        context.close()
    assert not watch.problems, "\n".join(["the browser complains:", *watch.problems])


def check_accessibility(page: Page) -> None:
    """Fail on every violation that axe-core finds in the page as it stands, once it has loaded.

    axe-core is handed to the page by the debugger's protocol, so a strict content policy stays on.
    """
    # A click goes on when the new page has begun: its text is there before its style sheet is.
    page.wait_for_load_state("load")
    found = Axe().run(page, options={"runOnly": ACCESSIBILITY_RULES})
    lines = [
        f"{violation['impact']}: {violation['help']} ({violation['id']})\n"
        + "\n".join(f"    {node['html']}" for node in violation["nodes"])
        for violation in found.response["violations"]
    ]
    assert not lines, "\n".join([f"{page.url} is hard to use for some people:", *lines])
