"""What an administrator does with the shop, over HTTP, and what arrives."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import sqlite3

import pytest

from example_app.folder import DataFolder
from example_app.mail_control import MailControl
from tests.example_app.running import Example, Visitor
from tests.waiting import wait_until


def someone() -> str:
    """An address that no other test sends to."""
    return f"reader-{secrets.token_hex(4)}@example.org"


def open_message(visitor: Visitor, address: str) -> tuple[str, str]:
    """Wait for the message to ``address``, open it, and return its path and page."""
    line = re.compile(rf'href="(/inbox/[^"?]+)">(?:(?!</a>).)*{re.escape(address)}', re.DOTALL)
    found = wait_until(lambda: line.search(visitor.get("/inbox/").body), what=f"mail to {address}")
    assert found is not None
    return found[1], visitor.get(found[1]).body


def connection_failures(example: Example) -> int:
    """How often in a row the connection failed, as the worker noted it."""
    with contextlib.closing(sqlite3.connect(example.folder / "shop.sqlite3")) as database:
        found = database.execute("SELECT max(failures) FROM smtp_admin_connection_health")
        return int(found.fetchone()[0] or 0)


def newsletters_in(example: Example) -> set[bytes]:
    """To whom a newsletter was delivered."""
    mail = (file.read_bytes() for file in DataFolder(example.folder).mail.glob("*.eml"))
    found = (re.search(rb"Delivered-To: (reader-\d{3}@example\.org)\r\n", one) for one in mail)
    return {match[1] for match in found if match}


def test_strangers_are_led_to_the_login(shop: Example) -> None:
    stranger = Visitor(shop)
    for path in ("/", "/inbox/", "/send/newsletter", "/inbox/x"):
        assert stranger.get(path).url.endswith("/login")
    refused = stranger.get("/smtp-admin/")
    assert refused.status == 403
    assert 'href="/login">Log in</a>' in refused.body


def test_a_wrong_password_opens_nothing(shop: Example) -> None:
    stranger = Visitor(shop)
    answer = stranger.post("/login", token_from="/login", user="admin", password="guess")
    assert "That is not it" in answer.body
    assert stranger.get("/").url.endswith("/login")


def test_wrong_passwords_of_others_do_not_lock_the_administrator_out(shop: Example) -> None:
    stranger = Visitor(shop)
    for number in range(12):
        stranger.post("/login", token_from="/login", user="admin", password=f"guess {number}")
    Visitor(shop).log_in()


@pytest.mark.parametrize("path", ["/", "/login", "/inbox/", "/static/shop.css", "/smtp-admin/"])
def test_a_foreign_host_is_refused(shop: Example, path: str) -> None:
    assert Visitor(shop).get(path, Host="rebound.example.org").status == 400


def test_its_database_is_for_its_owner_alone(shop: Example) -> None:
    files = list(shop.folder.glob("shop.sqlite3*"))
    assert files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_form_without_a_token_changes_nothing(visitor: Visitor) -> None:
    answer = visitor.post("/send/welcome", csrf_token="", customer="forged@example.org")
    assert answer.status == 400
    assert "reload the page" in answer.body


def test_a_welcome_message_arrives_with_all_its_parts(visitor: Visitor) -> None:
    to = someone()
    assert f"A welcome message for {to}" in visitor.post("/send/welcome", customer=to).body
    path, page = open_message(visitor, to)
    assert "Welcome to the Garden Shop, grüß Gott!" in page
    assert "prices.csv" in page
    assert 'sandbox=""' in page
    frame = visitor.get(f"{path}/html")
    assert "data:image/png;base64," in frame.body
    assert "cid:" not in frame.body
    assert "sandbox" in frame.headers["Content-Security-Policy"]
    assert "script-src" not in frame.headers["Content-Security-Policy"]
    source = visitor.get(f"{path}/source")
    assert source.headers["Content-Type"].startswith("text/plain")
    assert "Message-ID:" in source.body


def test_an_order_and_its_confirmation_commit_together(visitor: Visitor) -> None:
    to = someone()
    number = re.search(r"Order (\d+) is stored", visitor.post("/order", customer=to).body)
    assert number
    assert f"Your order {number[1]}" in open_message(visitor, to)[1]


def test_an_order_that_rolls_back_leaves_no_message(own_shop: Example) -> None:
    visitor = Visitor(own_shop).log_in()
    to, later = someone(), someone()
    assert "rolled back" in visitor.post("/order/refused", customer=to).body
    assert "0 so far" in visitor.get("/").body
    visitor.post("/order", customer=later)
    open_message(visitor, later)  # by now the earlier one would be here, too
    assert to not in visitor.get("/inbox/").body
    assert "1 received message deleted" in visitor.post("/inbox/clear").body
    assert "Nothing yet" in visitor.get("/inbox/").body


def test_a_password_reset_arrives(visitor: Visitor) -> None:
    to = someone()
    visitor.post("/send/password-reset", customer=to)
    assert "https://shop.example.org/password/" in open_message(visitor, to)[1]


def test_a_refused_and_a_deferred_address_show_up_as_failures(visitor: Visitor) -> None:
    visitor.post("/send/refused")
    visitor.post("/send/deferred")

    def both_shown() -> bool:
        page = visitor.get("/").body
        return all(part in page for part in ("nosuch@", "given up", "defer@", "tried again"))

    wait_until(both_shown, what="both failures")
    assert "5.1.1" in visitor.get("/").body


def test_two_hundred_newsletters_are_confirmed_first_and_all_arrive(
    shop: Example, visitor: Visitor
) -> None:
    assert "Send 200 newsletters?" in visitor.get("/send/newsletter").body
    answer = visitor.post("/send/newsletter", token_from="/send/newsletter")
    assert "200 copies" in answer.body
    # They are automated mail, which waits ten seconds before it is sent.
    wait_until(lambda: len(newsletters_in(shop)) == 200, what="200 messages", timeout=120)
    assert "start=25" in visitor.get("/inbox/").body
    assert "Newer" in visitor.get("/inbox/?start=5000").body


def test_a_stopped_mail_server_keeps_mail_waiting_until_it_is_started(own_shop: Example) -> None:
    visitor = Visitor(own_shop).log_in()
    assert "The mail server is stopped" in visitor.post("/mail-server/stop").body
    to = someone()
    visitor.post("/send/welcome", customer=to)
    wait_until(lambda: connection_failures(own_shop), what="a try that fails")
    assert to not in visitor.get("/inbox/").body
    assert "The mail server is listening" in visitor.post("/mail-server/start").body
    open_message(visitor, to)


def test_a_mail_server_whose_port_is_taken_says_what_to_do(own_shop: Example) -> None:
    visitor = Visitor(own_shop).log_in()
    visitor.post("/mail-server/stop")
    notes = DataFolder(own_shop.folder).read_notes()
    assert notes is not None
    assert notes.smtp_port is not None
    with socket.create_server(("127.0.0.1", notes.smtp_port)):
        page = visitor.post("/mail-server/start").body
        assert f"another program has taken its port {notes.smtp_port}. End that program" in page
        assert 'class="flash error"' in page
        assert 'class="flash done"' not in page
    assert "The mail server is listening" in visitor.post("/mail-server/start").body


def test_an_address_that_is_none_gets_a_sentence(visitor: Visitor) -> None:
    assert "This is no address" in visitor.post("/send/welcome", customer="nobody").body


@pytest.mark.parametrize("name", ["x", "..%2Fpassword", "0" * 20 + "-1-1"])
def test_a_message_that_is_not_there_is_not_found(visitor: Visitor, name: str) -> None:
    assert visitor.get(f"/inbox/{name}").status == 404


def test_pages_carry_a_strict_policy(visitor: Visitor) -> None:
    for path in ("/", "/inbox/", "/login", "/send/newsletter", "/no-such-page"):
        policy = visitor.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_command_line_finds_the_running_example(shop: Example) -> None:
    notes = DataFolder(shop.folder).read_notes()
    assert notes is not None
    assert notes.web_url == f"{shop.url}/"


def test_a_mail_server_that_is_away_is_called_so(shop: Example) -> None:
    assert MailControl(shop.folder / "nobody.sock").state() == "away"
