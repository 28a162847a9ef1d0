"""The test servers do what the other tests take for granted."""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from email.message import EmailMessage

import psutil
import pytest
import redis
import sqlalchemy
from playwright.sync_api import Browser, Page
from werkzeug import Response

from tests.servers.application import served
from tests.servers.browser import Watch, check_accessibility, watched_page
from tests.servers.catchall import CatchAll
from tests.servers.exim import EximServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerMissing, find_program, skip_or_fail
from tests.servers.redis import RedisServer
from tests.servers.scripted import (
    Peer,
    ScriptedServer,
    Step,
    close,
    reset,
    say,
    take_recipient_saying,
    take_saying,
    taking,
)
from tests.waiting import ConditionNotMet, wait_until


def message(to: str = "bob@example.test") -> EmailMessage:
    made = EmailMessage()
    made["From"] = "alice@example.test"
    made["To"] = to
    made["Subject"] = "Test"
    made.set_content("Hello.\n.a line that begins with a dot\n")
    return made


@pytest.fixture
def trusting(exim: EximServer) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=exim.ca_pem)


# ---------------------------------------------------------------- Exim


def test_exim_offers_auth_only_inside_tls(exim: EximServer, trusting: ssl.SSLContext) -> None:
    with smtplib.SMTP(exim.host, exim.port) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert client.has_extn("pipelining")
        assert not client.has_extn("auth")
        client.starttls(context=trusting)
        client.ehlo()
        assert set(client.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN", "CRAM-MD5"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_exim_knows_its_user(exim: EximServer, trusting: ssl.SSLContext, mechanism: str) -> None:
    with smtplib.SMTP_SSL(exim.host, exim.tls_port, context=trusting) as client:
        client.ehlo()
        client.user, client.password = exim.username, "wrong"
        method = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.auth(mechanism, method)
        assert refused.value.smtp_code == 535
        client.user, client.password = exim.username, exim.password
        assert client.auth(mechanism, method)[0] == 235


def test_exim_delivers_refuses_and_defers(exim: EximServer, trusting: ssl.SSLContext) -> None:
    with smtplib.SMTP(exim.host, exim.port) as client:
        client.starttls(context=trusting)
        client.login(exim.username, exim.password)
        refused = client.send_message(
            message(), to_addrs=["nosuch@example.test", "defer@example.test", "bob@example.test"]
        )
    assert {address: reply[0] for address, reply in refused.items()} == {
        "nosuch@example.test": 550,
        "defer@example.test": 451,
    }
    (delivered,) = exim.wait_for(1)
    assert b"\n.a line that begins with a dot\n" in delivered
    assert b"Envelope-to: bob@example.test" in delivered


def test_exim_relays_for_nobody_unknown(exim: EximServer) -> None:
    with (
        smtplib.SMTP(exim.host, exim.port) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused) as refused,
    ):
        client.send_message(message())
    assert refused.value.recipients["bob@example.test"][0] == 550


def test_exim_has_a_certificate_that_its_authority_alone_vouches_for(exim: EximServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        smtplib.SMTP_SSL(exim.host, exim.tls_port, context=ssl.create_default_context())


def test_exim_comes_back_on_its_ports(exim: EximServer) -> None:
    exim.stop()
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP(exim.host, exim.port)
    exim.start()
    with smtplib.SMTP(exim.host, exim.port) as client:
        assert client.noop()[0] == 250


# ---------------------------------------------------------------- catch-all


def test_catchall_keeps_a_journal(catchall: CatchAll) -> None:
    with smtplib.SMTP(catchall.host, catchall.port) as client:
        client.send_message(message(), to_addrs=["bob@example.test", "eve@example.test"])
    (caught,) = catchall.wait_for(1)
    assert caught.envelope_from == "alice@example.test"
    assert caught.recipients == ("bob@example.test", "eve@example.test")
    assert b"\r\n.a line that begins with a dot\r\n" in caught.content


def test_catchall_answers_what_it_is_told(catchall: CatchAll) -> None:
    catchall.answer_recipient("bob@example.test", "451 4.7.1 later")
    with smtplib.SMTP(catchall.host, catchall.port) as client:
        refused = client.send_message(message(), to_addrs=["bob@example.test", "c@example.test"])
        assert refused == {"bob@example.test": (451, b"4.7.1 later")}
        catchall.answer_content("552 5.3.4 too big")
        with pytest.raises(smtplib.SMTPDataError, match="too big"):
            client.send_message(message("c@example.test"))
        catchall.forget_answers()
        catchall.answer_sender("421 4.3.2 closing")
        with pytest.raises(smtplib.SMTPException):
            client.send_message(message())
    assert [caught.recipients for caught in catchall.messages] == [("c@example.test",)]
    assert catchall.offered == ["bob@example.test", "c@example.test", "c@example.test"]


def test_catchall_stops_and_comes_back(catchall: CatchAll) -> None:
    client = smtplib.SMTP(catchall.host, catchall.port)
    client.ehlo()
    catchall.stop()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP(catchall.host, catchall.port)
    catchall.start()
    with smtplib.SMTP(catchall.host, catchall.port) as again:
        again.send_message(message())
    assert len(catchall.wait_for(1)) == 1


# ---------------------------------------------------------------- the scripted server


def test_scripted_takes_what_it_says_in_other_words() -> None:
    with ScriptedServer() as server:
        server.on(Step.RCPT, take_recipient_saying("251 will forward"))
        server.on(Step.DOT, take_saying("299 what a day"))
        with (
            smtplib.SMTP(server.host, server.port) as client,
            # So odd a reply is a refusal to it.
            pytest.raises(smtplib.SMTPDataError, match="what a day"),
        ):
            client.send_message(message(), to_addrs=["bob@example.test"])
        assert [one.recipients for one in server.accepted] == [("bob@example.test",)]
        assert server.accepted[0].is_told


def test_scripted_takes_a_message_and_does_not_say_so() -> None:
    with ScriptedServer() as server:
        server.on(Step.DOT, taking(close))
        client = smtplib.SMTP(server.host, server.port)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.send_message(message())
        assert [one.is_told for one in server.accepted] == [False]


def test_scripted_does_not_know_what_a_reset_has_overtaken() -> None:
    with ScriptedServer() as server:
        server.when(Step.MAIL, lambda peer: peer.taken == 1, reset)
        server.when(Step.DATA, lambda peer: peer.taken == 1, reset)
        for verb in ("MAIL FROM:<a@example.test>", "DATA"):
            client = smtplib.SMTP(server.host, server.port)
            client.send_message(message())
            with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
                client.docmd(verb)
            client.close()
        assert [one.is_told for one in server.accepted] == [None, True]


def test_scripted_finds_those_whom_a_rule_concerns_so_often_and_no_more() -> None:
    def is_bob(peer: Peer) -> bool:
        return "<bob@" in peer.command

    with ScriptedServer() as server:
        server.when(Step.RCPT, is_bob, say("450 4.2.1 later"), times=2)
        with smtplib.SMTP(server.host, server.port) as client:
            for expected in ({"bob@example.test"}, {"bob@example.test"}, set()):
                refused = client.send_message(
                    message(), to_addrs=["c@example.test", "bob@example.test"]
                )
                assert set(refused) == expected


def test_scripted_meets_nobody_before_all_have_come() -> None:
    with ScriptedServer(gather=2) as server:
        first = socket.create_connection((server.host, server.port))
        with first, smtplib.SMTP(server.host, server.port):
            assert first.recv(3) == b"220"
        assert server.gathered == 2


# ---------------------------------------------------------------- databases and Redis


def test_a_database_is_empty_and_keeps_what_is_committed(database_url: str) -> None:
    engine = sqlalchemy.create_engine(database_url)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE words (word VARCHAR(20))"))
        connection.execute(sqlalchemy.text("INSERT INTO words VALUES ('Größe 📬')"))
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT word FROM words")).scalar_one()
    assert found == "Größe 📬"
    engine.dispose()


def test_postgres_keeps_its_data_over_a_crash(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    engine = sqlalchemy.create_engine(postgres_url, pool_pre_ping=True)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE kept (word VARCHAR(20))"))
    postgres_server.kill()
    postgres_server.start()
    assert sqlalchemy.inspect(engine).get_table_names() == ["kept"]
    engine.dispose()


def test_redis_answers_and_is_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == []
        assert client.set("word", "x")
        assert client.get("word") == b"x"


def test_own_redis_stops_and_comes_back_empty(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("word", "x")
        own_redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own_redis.start()
        assert client.get("word") is None


def test_redis_can_keep_its_data() -> None:
    try:
        server = RedisServer(keep=True)
    except ServerMissing as missing:
        skip_or_fail(missing)
    with server, server.client() as client:
        client.set("word", "x")
        server.stop()
        server.start()
        assert client.get("word") == b"x"


# ---------------------------------------------------------------- browser


@pytest.fixture
def site() -> Iterator[str]:
    """A page that accuses itself of whatever its query string asks for."""
    with serving(
        """<!doctype html><html lang="en"><title>A page</title><main><h1>Hello</h1>
        <p id="p">without</p><script>document.getElementById("p").textContent = "with"</script>
        </main></html>"""
    ) as url:
        yield url


def serving(html: str) -> AbstractContextManager[str]:
    return served(Response(html, content_type="text/html; charset=utf-8"))


def test_page_shows_what_is_served(page: Page, site: str) -> None:
    page.goto(site)
    assert page.locator("p").inner_text() == "with"
    check_accessibility(page)


def test_page_without_javascript(browser: Browser, site: str) -> None:
    with watched_page(browser, javascript=False) as (page, _):
        page.goto(site)
        assert page.locator("p").inner_text() == "without"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<img alt="" src="https://example.test/a.png">', "request to another host"),
        ("<script>console.error('oh dear')</script>", "console: oh dear"),
        ("<script>throw new Error('oh no')</script>", "exception: oh no"),
    ],
)
def test_a_complaining_page_fails_its_test(browser: Browser, body: str, complaint: str) -> None:
    with (
        serving(f"<!doctype html><title>A page</title>{body}") as url,
        pytest.raises(AssertionError, match=complaint),
        watched_page(browser) as (page, _),
    ):
        page.goto(url)


def test_a_complaint_can_be_allowed(page: Page, watch: Watch) -> None:
    with serving("<!doctype html><title>A page</title><script>console.error('so')</script>") as url:
        page.goto(url)
    assert watch.problems
    watch.allow("console: so")


def test_an_inaccessible_page_is_found(page: Page) -> None:
    with serving("<!doctype html><html lang='en'><title>A page</title><input name='x'>") as url:
        page.goto(url)
        with pytest.raises(AssertionError, match="Form elements must have labels"):
            check_accessibility(page)


# ---------------------------------------------------------------- processes and waiting


STARTER = """
import os, signal
from tests.servers.redis import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_server_dies_with_the_process_that_started_it() -> None:
    starter = subprocess.run(
        [
            sys.executable,
            "-c",
            STARTER,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    pid, folder = starter.stdout.split()
    orphan = int(pid)
    wait_until(
        lambda: (
            not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
        ),
        what="the end of the orphaned server",
    )
    shutil.rmtree(folder)


def test_a_missing_server_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServerMissing, match="apt-get install it"):
        find_program("no-such-server", hint="apt-get install it")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="in CI a missing server is a failure"):
        skip_or_fail(ServerMissing("apt-get install it"))
    monkeypatch.setitem(os.environ, "CI", "")
    with pytest.raises(pytest.skip.Exception, match="apt-get install it"):
        skip_or_fail(ServerMissing("apt-get install it"))


def test_waiting_returns_what_it_waited_for_or_says_what_did_not_come() -> None:
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers)) == 7
    with pytest.raises(ConditionNotMet, match=r"waited 0\.01 s in vain for rain"):
        wait_until(lambda: False, timeout=0.01, what="rain")
