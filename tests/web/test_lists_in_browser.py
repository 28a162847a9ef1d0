"""Tests of what only a browser shows of the lists, the message page and the overview."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Browser, Page, Route, expect

from flask_smtp_admin import paging
from flask_smtp_admin.models import Message, Status
from tests import rows
from tests.apps import engine_of
from tests.rows import NOW
from tests.servers.application import served
from tests.servers.browser import check_accessibility, watched_page
from tests.waiting import wait_until
from tests.web.lists import Stored, open_to, store

PAGES = ["/", "/queue/", "/queue/?q=to:*@example.org+code:451", "/queue/?q=form:x", "/log/"]


@pytest.fixture
def stored(app: Flask) -> Stored:
    open_to(app)
    app.config["WTF_CSRF_ENABLED"] = True
    return store(app)


@pytest.fixture
def url(stored: Stored) -> Iterator[str]:
    with served(stored.app) as address:
        yield address + "/smtp-admin"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_usable_by_everybody(
    stored: Stored, url: str, browser: Browser, dark: bool
) -> None:
    with watched_page(browser, dark=dark) as (page, _):
        for path in [
            *PAGES,
            f"/messages/{stored.deferred.id}",
            f"/messages/{stored.waiting.id}/delete",
        ]:
            page.goto(url + path)
            for details in page.locator("details").all():
                details.locator("summary").click()
            check_accessibility(page)


def test_pages_fit_a_narrow_window(stored: Stored, url: str, browser: Browser) -> None:
    with watched_page(browser, width=320) as (page, _):
        for path in [*PAGES, f"/messages/{stored.deferred.id}"]:
            page.goto(url + path)
            for details in page.locator("details").all():
                details.locator("summary").click()
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{path} is {wide} pixels too wide"
            check_accessibility(page)


def test_a_phone_can_tick_every_row(stored: Stored, url: str, browser: Browser) -> None:
    with watched_page(browser, width=375) as (page, _):
        page.goto(f"{url}/queue/")
        page.get_by_label("All on this page").check()
        expect(page.get_by_text("or the 5 selected")).to_be_visible()
        box = page.get_by_label(f"Select message {stored.deferred.id} to ann@example.org")
        expect(box).to_be_checked()
        box.uncheck()
        expect(page.get_by_label("All on this page")).not_to_be_checked()
        expect(page.get_by_label("Select every message on this page")).to_be_hidden()
        page.set_viewport_size({"width": 1280, "height": 800})
        expect(page.get_by_label("All on this page")).to_be_hidden()
        expect(page.get_by_label("Select every message on this page")).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["scripts", "no scripts"])
def test_a_phone_shows_the_tab_that_it_is_on(
    stored: Stored, url: str, browser: Browser, javascript: bool
) -> None:
    with watched_page(browser, width=375, javascript=javascript) as (page, _):
        page.goto(f"{url}/queue/?tab=failed")
        tab = page.get_by_role("navigation", name="States").locator("[aria-current]")
        expect(tab).to_have_text("Failed 1")
        expect(tab).to_be_in_viewport(ratio=1)


def test_a_search_leaves_out_what_it_does_not_narrow(stored: Stored, url: str, page: Page) -> None:
    page.goto(f"{url}/queue/")
    page.get_by_label("Search the queue").fill("to:bob")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(f"{url}/queue/?q=to%3Abob")
    page.get_by_label("Connection", exact=True).select_option("Bulk")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(f"{url}/queue/?q=to%3Abob&connection={stored.bulk.id}")


def test_everything_works_without_javascript(stored: Stored, url: str, browser: Browser) -> None:
    with watched_page(browser, javascript=False) as (page, _):
        page.goto(f"{url}/queue/")
        expect(page.get_by_role("link", name="Reload")).to_be_visible()
        page.get_by_label("Search the queue").fill("to:bob")
        page.get_by_role("button", name="Search").click()
        page.get_by_label("The one that matches").check()
        page.get_by_role("button", name="Hold").click()
        expect(page.get_by_role("status")).to_contain_text("1 message is held.")
        page.get_by_label(f"Select message {stored.waiting.id} to bob@example.org").check()
        page.get_by_role("button", name="Delete…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Delete 1 unsent message?")
        page.get_by_role("button", name="Delete 1 message").click()
        expect(page.get_by_role("status")).to_contain_text("1 message was deleted.")
    assert stored.status(stored.waiting) is Status.DELETED


def test_the_keyboard_is_enough(stored: Stored, url: str, page: Page) -> None:
    page.goto(f"{url}/queue/")
    page.keyboard.press("/")
    expect(page.get_by_label("Search the queue")).to_be_focused()
    page.keyboard.type("status:held")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    every = page.get_by_label("Select every message on this page")
    expect(every).to_be_visible()
    every.focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("or the 1 selected")).to_be_visible()
    page.get_by_role("button", name="Release").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("1 message was released.")


def quickly(page: Page) -> None:
    """Have the page refresh itself every tenth of a second instead of every five seconds."""
    page.route("**/live.js", _serve_quick)


def _serve_quick(route: object) -> None:
    answer = route.fetch()  # type: ignore[attr-defined]
    body = answer.text().replace("* 1000", "* 20")
    route.fulfill(response=answer, body=body)  # type: ignore[attr-defined]


def test_the_queue_refreshes_and_keeps_what_a_person_does(
    stored: Stored, url: str, page: Page
) -> None:
    quickly(page)
    page.goto(f"{url}/queue/")
    box = page.get_by_label(f"Select message {stored.deferred.id} to ann@example.org")
    box.check()
    expect(box).to_be_focused()
    rows.add(engine_of(stored.app), rows.a_message("new@example.org", subject="Just now"))
    expect(page.get_by_role("link", name="Just now")).to_be_visible()
    expect(box).to_be_checked()
    expect(box).to_be_focused()
    expect(page.get_by_role("navigation", name="States")).to_contain_text("All unsent 6")


def test_the_refresh_can_be_paused(stored: Stored, url: str, page: Page) -> None:
    quickly(page)
    page.goto(f"{url}/queue/")
    page.get_by_role("button", name="Live").click()
    toggle = page.get_by_role("button", name="Paused")
    expect(toggle).to_be_visible()
    rows.add(engine_of(stored.app), rows.a_message("new@example.org", subject="Just now"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    toggle.click()
    expect(page.get_by_role("link", name="Just now")).to_be_visible()
    assert asked


def test_a_lost_login_ends_the_refresh(stored: Stored, url: str, page: Page, watch: object) -> None:
    watch.allow("403")  # type: ignore[attr-defined]
    quickly(page)
    page.goto(f"{url}/queue/")
    expect(page.get_by_role("button", name="Live")).to_be_visible()
    stored.app.extensions["smtp_admin"].authorize = lambda action: False
    expect(page.get_by_role("link", name="Reload")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(5)


def test_a_message_is_watched_until_it_is_sent(stored: Stored, url: str, page: Page) -> None:
    quickly(page)
    page.goto(f"{url}/messages/{stored.deferred.id}")
    page.get_by_text("SMTP dialogue").click()
    expect(page.get_by_role("cell", name="EHLO web-1")).to_be_visible()
    with engine_of(stored.app).begin() as connection:
        connection.execute(
            sa.update(Message).where(Message.id == stored.deferred.id).values(status=Status.SENT)
        )
    expect(page.get_by_text("Accepted by the server.")).to_be_visible()
    expect(page.get_by_role("cell", name="EHLO web-1")).to_be_visible()


def test_the_facts_of_a_message_follow_it(stored: Stored, url: str, page: Page) -> None:
    quickly(page)
    page.goto(f"{url}/messages/{stored.deferred.id}")
    facts = page.get_by_role("complementary", name="Facts")
    crumbs = page.get_by_role("navigation", name="Where you are")
    expect(facts).to_contain_text("Next try")
    choice = page.get_by_label("Carry it by another connection")
    choice.select_option("Bulk")
    choice.evaluate("(select) => select.blur()")
    _change(stored, attempts_count=3)
    expect(facts).to_contain_text("3 of 9")
    expect(choice).to_have_value(str(stored.bulk.id))
    _change(stored, connection_id=stored.bulk.id)
    expect(facts).to_contain_text("Bulk")
    expect(choice).to_have_value("")
    _change(stored, status=Status.SENT, finished_at=NOW)
    expect(facts).to_contain_text("Ended")
    expect(choice).to_have_count(0)
    expect(crumbs).to_have_text("Log")
    current = page.get_by_role("navigation", name="Pages").locator("[aria-current]")
    expect(current).to_have_text("Log")


def _change(stored: Stored, **values: object) -> None:
    with engine_of(stored.app).begin() as connection:
        connection.execute(
            sa.update(Message).where(Message.id == stored.deferred.id).values(**values)
        )


def test_a_search_goes_on_until_it_finds_something(
    stored: Stored, url: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 1)
    monkeypatch.setattr(paging, "RARE", 0)
    with watched_page(browser) as (page, _):
        page.goto(f"{url}/log/?q=invoice")
        expect(page.get_by_text("Nothing found so far.")).to_be_visible()
        page.get_by_role("link", name="Search further back").click()
        expect(page.get_by_role("table", name="Attempts, newest first")).to_contain_text("Invoice")
        page.goto(f"{url}/log/?q=nobody-wrote-this")
        page.get_by_role("link", name="Search further back").click()
        expect(page.get_by_text("No attempt matches")).to_be_visible()


def test_a_search_can_be_stopped_and_gone_on_with(
    stored: Stored, url: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 1)
    monkeypatch.setattr(paging, "RARE", 0)
    with watched_page(browser) as (page, _):
        page.goto(f"{url}/log/?q=nobody-wrote-this")
        asked: list[str] = []

        def the_first_only(route: Route) -> None:
            asked.append(route.request.url)
            if len(asked) == 1:
                route.continue_()

        page.route(lambda address: "before=" in address, the_first_only)
        page.get_by_role("link", name="Search further back").click()
        stop = page.get_by_role("button", name="Stop searching")
        expect(stop).to_be_focused()
        wait_until(
            lambda: page.evaluate("1") and len(asked) == 2, what="the next page to be asked for"
        )
        stop.click()
        expect(stop).to_be_hidden()
        link = page.get_by_role("link", name="Search further back")
        expect(link).to_have_attribute("href", asked[-1])
        check_accessibility(page)
