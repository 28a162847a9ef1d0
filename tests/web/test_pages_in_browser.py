"""What only a browser shows: scripts, no scripts, keyboard, narrow screens, accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from flask_smtp_admin.models import BreakerState, ConnectionHealth
from tests.apps import MakeApp, core_of, engine_of
from tests.rows import a_message, add
from tests.servers.application import served
from tests.servers.browser import Watch, check_accessibility, watched_page
from tests.servers.catchall import CatchAll
from tests.web.visits import PREFIX, a_connection, state_of

PAGES = [
    "/connections/",
    "/connections/new",
    "/connections/new?preset=gmail",
    "/connections/1/",
    "/connections/1/test",
    "/connections/2/delete",
    "/connections/3/delete",
    "/nowhere",
]


@pytest.fixture
def site(make_app: MakeApp, catchall: CatchAll) -> Iterator[str]:
    """A served application: a connection that works, a broken one and a disabled one."""
    app = make_app(SMTP_ADMIN_SITE_NAME="A shop with a rather long name")
    state_of(app).authorize = lambda action: True
    a_connection(
        app,
        host=catchall.host,
        port=catchall.port,
        encryption="none",
        use_auth=False,
        password="",
    )
    broken = a_connection(
        app,
        caption="Newsletters",
        host="email-smtp.eu-west-1.amazonaws.com",
        username="a-user-name-without-any-place-to-break-it-in",
        sender_address="newsletters.and.more@notifications.example.org",
    )
    a_connection(app, caption="Old", enabled=False)
    _break(app, broken)
    add(engine_of(app), *(a_message(connection_id=broken) for _ in range(3)))
    with served(app) as url:
        yield url + PREFIX


def _break(app: Flask, number: int) -> None:
    core = core_of(app)
    with core.database.write() as connection:
        connection.execute(
            sa.update(ConnectionHealth)
            .where(ConnectionHealth.connection_id == number)
            .values(
                breaker=BreakerState.OPEN,
                failures=6,
                failing_since=core.now() - timedelta(hours=1),
                retry_at=core.now() + timedelta(minutes=4),
                last_stage="auth",
                last_advice="Check the username and the password.",
            )
        )


@pytest.mark.parametrize(("dark", "width"), [(True, 320), (False, 1280)], ids=["narrow", "wide"])
def test_every_page_is_usable_by_everybody(
    site: str, browser: Browser, dark: bool, width: int
) -> None:
    with watched_page(browser, dark=dark, width=width) as (page, watch):
        watch.allow("404")
        for path in PAGES:
            page.goto(site + path)
            check_accessibility(page)
            across = page.evaluate("document.documentElement.scrollWidth")
            assert across <= width, f"{path} scrolls sideways at {width} px: {across}"


def test_the_refusal_is_usable_too(make_app: MakeApp, page: Page, watch: Watch) -> None:
    watch.allow("403")
    app = make_app(DEBUG=True)
    with served(app) as url:
        page.goto(f"{url}{PREFIX}/connections/")
        expect(page.get_by_text("For the developer")).to_be_visible()
        check_accessibility(page)


def test_add_a_connection_as_a_person_would(
    site: str, page: Page, watch: Watch, catchall: CatchAll
) -> None:
    watch.allow("422")
    page.goto(f"{site}/connections/")
    page.get_by_role("link", name="Add a connection").click()
    page.get_by_label("Caption").fill("Mine")
    page.get_by_label("Host").fill(catchall.host)
    page.get_by_label("Encryption").select_option("none")
    page.get_by_label("Port").fill("99999")
    page.get_by_label("Use SMTP authentication").uncheck()
    page.get_by_label("Send from name").fill("Shop")
    page.get_by_label("Send from", exact=True).fill("shop@example.test")
    page.get_by_role("button", name="Save").click()
    port = page.get_by_label("Port", exact=True)
    expect(port).to_be_focused()
    expect(port).to_have_value("99999")
    expect(page.get_by_label("Caption")).to_have_value("Mine")
    check_accessibility(page)
    port.fill(str(catchall.port))
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("“Mine” is stored.")).to_be_visible()


def test_a_test_keeps_a_typed_password(site: str, page: Page) -> None:
    page.goto(f"{site}/connections/new")
    page.get_by_label("Host").fill("127.0.0.1")
    page.get_by_label("Port").fill("1")
    page.get_by_label("Username").fill("shop")
    page.get_by_label("Password", exact=True).fill("typed-once")
    page.get_by_label("Send from", exact=True).fill("shop@example.test")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("heading", name="No server listens")).to_be_visible()
    expect(page.get_by_label("Password", exact=True)).to_have_value("typed-once")
    check_accessibility(page)


def test_a_wrong_field_of_a_test_gets_the_focus(site: str, page: Page, watch: Watch) -> None:
    watch.allow("422")
    page.goto(f"{site}/connections/1/")
    page.get_by_label("Port").fill("70000")
    page.get_by_role("button", name="Test").click()
    port = page.get_by_label("Port", exact=True)
    expect(port).to_be_focused()
    expect(page.get_by_text("Please enter an SMTP port between 1 and 49151.")).to_be_visible()
    port.fill("1")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("heading", name="No server listens")).to_be_visible()
    expect(page.get_by_text("Please enter an SMTP port")).to_have_count(0)


def test_a_test_message_without_a_recipient_asks_for_it(
    site: str, page: Page, watch: Watch, catchall: CatchAll
) -> None:
    watch.allow("422")
    page.goto(f"{site}/connections/1/test")
    page.get_by_label("Send a test message").check()
    page.get_by_role("button", name="Run the test").click()
    recipient = page.get_by_label("To", exact=True)
    expect(recipient).to_be_focused()
    expect(recipient).to_have_attribute("aria-invalid", "true")
    expect(recipient).to_have_accessible_description(
        "Please enter the address that the test message goes to."
    )
    check_accessibility(page)
    recipient.fill("ann@example.test")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="accepted the test message")).to_be_visible()
    expect(recipient).not_to_have_attribute("aria-invalid", "true")


def test_enter_in_the_recipient_of_a_test_tests(site: str, page: Page, catchall: CatchAll) -> None:
    page.goto(f"{site}/connections/1/")
    page.get_by_label("Send a test message to").fill("ann@example.test")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="accepted the test message")).to_be_visible()
    assert page.url == f"{site}/connections/1/"


@pytest.mark.parametrize("javascript", [True, False], ids=["scripts", "no scripts"])
def test_an_arrow_keeps_the_focus(site: str, browser: Browser, javascript: bool) -> None:
    with watched_page(browser, javascript=javascript) as (page, _):
        page.goto(f"{site}/connections/")
        page.get_by_role("button", name="Use later: Main").press("Enter")
        expect(page.get_by_text("“Main” was moved down.")).to_be_visible()
        expect(page.get_by_role("button", name="Use later: Main")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Use later: Main")).to_be_disabled()
        expect(page.get_by_role("button", name="Use earlier: Main")).to_be_focused()


def test_send_a_test_message(site: str, page: Page, catchall: CatchAll) -> None:
    page.goto(f"{site}/connections/")
    page.get_by_role("link", name="Test Main").click()
    recipient = page.get_by_label("To", exact=True)
    expect(recipient).to_be_hidden()
    page.get_by_label("Send a test message").check()
    recipient.fill("ann@example.test")
    page.get_by_role("button", name="Run the test").click()
    expect(page.get_by_role("heading", name="accepted the test message")).to_be_visible()
    page.get_by_text("What was said, line by line").click()
    expect(page.get_by_text("RCPT TO:<ann@example.test>")).to_be_visible()
    check_accessibility(page)
    assert len(catchall.messages) == 1


def test_all_of_it_works_without_scripts(site: str, browser: Browser, catchall: CatchAll) -> None:
    with watched_page(browser, javascript=False, width=375) as (page, _):
        page.goto(f"{site}/connections/new")
        page.get_by_label("Fill in the server of a provider").select_option("local")
        page.get_by_role("button", name="Fill in").click()
        expect(page.get_by_label("Host")).to_have_value("localhost")
        page.get_by_label("Caption").fill("Plain")
        page.get_by_label("Host").fill(catchall.host)
        page.get_by_label("Port", exact=True).fill(str(catchall.port))
        page.get_by_label("Use SMTP authentication").uncheck()
        page.get_by_label("Send from name").fill("Shop")
        page.get_by_label("Send from", exact=True).fill("shop@example.test")
        page.get_by_role("button", name="Test").click()
        expect(page.get_by_role("heading", name="All is well")).to_be_visible()
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Run the test").click()
        expect(page.get_by_role("heading", name="All is well")).to_be_visible()
        page.goto(f"{site}/connections/")
        page.get_by_role("button", name="Disable Plain").click()
        expect(page.get_by_text("“Plain” is disabled.")).to_be_visible()
        page.get_by_role("link", name="Delete Plain").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_text("“Plain” is deleted.")).to_be_visible()


def test_by_keyboard_alone(site: str, page: Page) -> None:
    page.goto(f"{site}/connections/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Add a connection")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Add a connection")).to_be_visible()


def test_presets_and_encryption_fill_in_at_once(site: str, page: Page) -> None:
    page.goto(f"{site}/connections/new")
    port = page.get_by_label("Port", exact=True)
    page.get_by_label("Encryption").select_option("implicit")
    expect(port).to_have_attribute("placeholder", "465")
    page.get_by_label("Fill in the server of a provider").select_option("sendgrid")
    expect(page.get_by_label("Host")).to_have_value("smtp.sendgrid.net")
    expect(page.get_by_label("Username")).to_have_value("apikey")
    expect(port).to_have_value("587")
    page.get_by_label("Encryption").select_option("implicit")
    expect(port).to_have_value("465")
    port.fill("2465")
    page.get_by_label("Encryption").select_option("starttls")
    expect(port).to_have_value("2465")


def test_the_colours_are_remembered(site: str, page: Page) -> None:
    page.goto(f"{site}/connections/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    check_accessibility(page)
    page.get_by_role("button", name="As the system").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_the_accent_colour_of_the_host_is_readable(make_app: MakeApp, page: Page) -> None:
    app = make_app(SMTP_ADMIN_ACCENT_COLOR="#ffd54f")
    state_of(app).authorize = lambda action: True
    a_connection(app)
    with served(app) as url:
        page.goto(f"{url}{PREFIX}/connections/")
        check_accessibility(page)
