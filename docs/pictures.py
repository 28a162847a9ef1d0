"""Take the pictures of README and documentation from the running example.

Run by hand when the pages have changed: ``python docs/pictures.py``. It starts the example in a
folder that is thrown away, uses it as a person would, and needs what the tests need (Chromium).
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from playwright.sync_api import Page  # noqa: E402

from tests.example_app.running import Example, Visitor  # noqa: E402
from tests.servers.browser import launch, watched_page  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

IMAGES = HERE / "images"
WIDTH, HEIGHT = 1180, 720


def main() -> None:
    """Fill the shop with life and take the pictures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Example(Path(folder) / "shop") as shop,
        launch() as browser,
        watched_page(browser, width=WIDTH) as (page, _),
    ):
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        log_in(page, shop)
        visitor = Visitor(shop).log_in()
        send_all(visitor)
        wait_until(
            lambda: re.search(r">206</td>", visitor.get("/smtp-admin/").body),
            what="the worker's own count",
            timeout=120,
        )
        shoot(page, shop, "/smtp-admin/", "overview")
        shoot(page, shop, "/smtp-admin/log/", "log")
        visitor.post("/mail-server/stop")
        for address in ("customer@example.org", "office@example.org", "reader@example.com"):
            visitor.post("/send/password-reset", customer=address)
        wait_until(
            lambda: "refused" in visitor.get("/smtp-admin/queue/").body,
            what="the reason why they wait",
            timeout=60,
        )
        shoot(page, shop, "/smtp-admin/queue/", "queue")
        page.goto(f"{shop.url}/smtp-admin/connections/")
        page.get_by_role("link", name="Test Default").click()
        # High enough for the whole report: it would scroll while the picture is taken.
        page.set_viewport_size({"width": WIDTH, "height": 2 * HEIGHT})
        page.get_by_role("button", name="Run the test").click()
        wait_until(lambda: "refused" in page.content(), what="the report")
        page.get_by_text("Working").wait_for(state="hidden")
        page.set_viewport_size({"width": WIDTH, "height": 1080})
        save(page, "test-smtp")
        visitor.post("/mail-server/start")


def log_in(page: Page, shop: Example) -> None:
    """Enter the shop."""
    page.goto(shop.url)
    page.get_by_label("Password").fill(shop.password)
    page.get_by_role("button", name="Log in").click()


def send_all(visitor: Visitor) -> None:
    """Send of everything, and wait until it has arrived."""
    for address in ("customer@example.org", "reader@example.com", "office@example.org"):
        visitor.post("/send/welcome", customer=address)
        visitor.post("/order", customer=address)
    visitor.post("/send/newsletter", token_from="/send/newsletter")
    visitor.post("/send/refused")
    visitor.post("/send/deferred")
    wait_until(
        lambda: '<span class="quiet">206</span>' in visitor.get("/inbox/").body,
        what="all messages",
        timeout=120,
    )
    wait_until(lambda: "given up" in visitor.get("/").body, what="the failure")


def shoot(page: Page, shop: Example, path: str, name: str) -> None:
    """Open a page of the shop and take its picture."""
    page.goto(shop.url + path)
    save(page, name)


def save(page: Page, name: str) -> None:
    """Take the picture of what the window shows."""
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
