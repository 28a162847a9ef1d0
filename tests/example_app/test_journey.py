"""The way of an administrator through shop and pages, in a browser, from the first login on."""

from __future__ import annotations

import contextlib

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from example_app.folder import DataFolder
from tests.example_app.running import Example
from tests.servers.browser import check_accessibility, watched_page
from tests.servers.process import free_port
from tests.waiting import ConditionNotMet, wait_until

MILLISECONDS = 60_000
"""A bound for what takes a second or two, however loaded the machine is."""


@pytest.fixture(autouse=True)
def patience(page: Page) -> None:
    page.set_default_timeout(MILLISECONDS)


def see(page: Page, text: str) -> None:
    """Wait for a text, in a page that may have to be loaded again for it."""
    expect(page.get_by_text(text).first).to_be_visible(timeout=MILLISECONDS)


def log_in(page: Page, shop: Example) -> None:
    page.goto(shop.url)
    page.get_by_label("Password").fill(shop.password)
    page.get_by_role("button", name="Log in").click()
    see(page, "Send something, and watch it go")


def test_from_a_wrong_port_to_a_message_that_waited_and_went(own_shop: Example, page: Page) -> None:
    notes = DataFolder(own_shop.folder).read_notes()
    assert notes is not None
    admin = f"{own_shop.url}/smtp-admin"
    log_in(page, own_shop)

    # A connection with a wrong port is tested, corrected, tested and saved.
    page.get_by_role("link", name="Mail administration").first.click()
    page.get_by_role("link", name="Connections", exact=True).click()
    page.get_by_role("link", name="Add a connection").click()
    page.locator("[name=caption]").fill("Second")
    page.locator("[name=host]").fill("127.0.0.1")
    page.locator("[name=encryption]").select_option("none")
    page.locator("[name=port]").fill(str(free_port()))
    page.locator("[name=use_auth]").uncheck()
    page.locator("[name=sender_name]").fill("Garden Shop")
    page.locator("[name=sender_address]").fill("shop@example.org")
    page.get_by_role("button", name="Test", exact=True).click()
    see(page, "No server listens on this port")
    page.locator("[name=port]").fill(str(notes.smtp_port))
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#report")).not_to_contain_text("No server listens", timeout=MILLISECONDS)
    expect(page.locator("#report")).to_contain_text("Greeting", timeout=MILLISECONDS)
    page.get_by_role("button", name="Save").click()
    see(page, "Second")

    # A message leaves the queue and appears in the log.
    page.goto(own_shop.url)
    page.get_by_role("button", name="Send a welcome message").click()
    page.goto(f"{admin}/log/")
    reload_until(page, "SUCCESS")
    see(page, "customer@example.org".partition("@")[0])
    page.goto(f"{admin}/queue/")
    expect(page.get_by_text("Welcome to the Garden Shop")).to_have_count(0)

    # The server stops: the queue says why the next one waits, and when it is tried.
    page.goto(own_shop.url)
    page.get_by_role("button", name="Stop the mail server").click()
    see(page, "The mail server is stopped")
    page.get_by_role("button", name="Place an order", exact=True).click()
    page.goto(f"{admin}/queue/")
    reload_until(page, "the connection was refused")
    see(page, "Tried again")

    # It starts: retried now, the message goes.
    page.goto(own_shop.url)
    page.get_by_role("button", name="Start the mail server").click()
    see(page, "The mail server is listening")
    page.goto(f"{admin}/queue/")
    with contextlib.suppress(PlaywrightTimeout):  # its own next try may come before our hand
        page.get_by_role("link", name="Your order 1").click(timeout=5_000)
        page.get_by_role("button", name="Retry now").click(timeout=5_000)
    page.goto(f"{admin}/log/?q=to:customer@example.org")
    reload_until(page, "Your order 1", "SUCCESS")
    page.goto(f"{own_shop.url}/inbox/")
    reload_until(page, "Your order 1")


def reload_until(page: Page, *texts: str) -> None:
    """Load the page again until it shows all of the texts."""
    row = page.locator("tr, li").filter(has_text=texts[0])
    for text in texts[1:]:
        row = row.filter(has_text=text)

    def shown() -> bool:
        page.reload()
        return row.count() > 0

    try:
        wait_until(shown, what=" and ".join(texts), timeout=MILLISECONDS / 1000)
    except ConditionNotMet as error:
        raise ConditionNotMet(f"{error}; the page says:\n{page.inner_text('body')}") from error


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_the_shop_can_be_used_by_everybody(
    shop: Example, browser: Browser, dark: bool, width: int
) -> None:
    with watched_page(browser, dark=dark, width=width) as (page, _):
        page.set_default_timeout(MILLISECONDS)
        page.goto(f"{shop.url}/login")
        check_accessibility(page)
        log_in(page, shop)
        page.get_by_role("button", name="Send a welcome message").click()
        page.get_by_role("button", name="Send to an address that is refused").click()
        for path, waited_for in (
            ("/", "given up"),
            ("/inbox/", "Welcome"),
            ("/send/newsletter", ""),
        ):
            page.goto(shop.url + path)
            if waited_for:
                reload_until(page, waited_for)
            check_accessibility(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.goto(f"{shop.url}/inbox/")
        page.get_by_role("link", name="Welcome to the").first.click()
        see(page, "HTML")
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
