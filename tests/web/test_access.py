"""Who may see and do what: the guards before every page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask, Request, g
from flask.sessions import SecureCookieSession, SessionInterface
from flask_wtf import CSRFProtect

from flask_smtp_admin import SMTPAdmin
from flask_smtp_admin.web import access
from tests.apps import MakeApp, bare_app
from tests.web.visits import FIELDS, PREFIX, a_connection, let_in, state_of, text, token

LIST = f"{PREFIX}/connections/"


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Every endpoint of ours with each method and an address."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("smtp_admin."):
            samples = {"filename": "base.css", "path": "some/where"}
            values = {name: samples.get(name, 1) for name in rule.arguments}
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule.endpoint, method, adapter.build(rule.endpoint, values)


def test_every_route_declares_an_action(app: Flask) -> None:
    for endpoint, _, _ in routes(app):
        assert access.declared_action(endpoint) in access.ACTIONS | {access.OPEN, access.PROBE}, (
            endpoint
        )


def test_what_is_open_holds_no_data(app: Flask) -> None:
    found = {e for e, _, _ in routes(app) if access.declared_action(e) == access.OPEN}
    assert found == {"smtp_admin.static", "smtp_admin.brand"}


@pytest.mark.parametrize("answer", [None, False, 1, "yes", [True]], ids=repr)
def test_only_true_opens_a_route(app: Flask, answer: object) -> None:
    client = let_in(app, lambda action: answer)
    for endpoint, method, url in routes(app):
        if access.declared_action(endpoint) != access.OPEN:
            assert client.open(url, method=method).status_code == 403, (method, url)


def test_without_authorize_every_route_is_closed(app: Flask) -> None:
    client = app.test_client()
    for endpoint, method, url in routes(app):
        if access.declared_action(endpoint) != access.OPEN:
            assert client.open(url, method=method).status_code == 403, (method, url)


def test_an_exception_closes_the_route(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def broken(action: str) -> bool:
        raise LookupError("no user table")

    assert let_in(app, broken).get(LIST).status_code == 403
    assert "no user table" in caplog.text


def test_a_route_is_closed_to_who_may_do_everything_else(app: Flask) -> None:
    a_connection(app)
    for endpoint, method, url in routes(app):
        needed = access.declared_action(endpoint)
        needed = "view" if needed == access.PROBE else needed
        if needed != access.OPEN:
            client = let_in(app, partial(_differs, needed))
            assert client.open(url, method=method).status_code == 403, (method, url)


def _differs(needed: str | None, action: str) -> bool:
    return action != needed


def test_a_view_that_declares_nothing_is_closed(make_app: MakeApp) -> None:
    app = make_app()
    app.add_url_rule("/smtp-admin/forgotten", "smtp_admin.forgotten", lambda: "data")
    assert let_in(app).get("/smtp-admin/forgotten").status_code == 403


def test_every_view_is_there_and_is_called_what_its_address_says(app: Flask) -> None:
    """They are imported late, so that nobody else would notice one that is missing."""
    ours = {
        endpoint: view
        for endpoint, view in app.view_functions.items()
        if access.declared_action(endpoint) and endpoint != "smtp_admin.static"
    }
    assert len(ours) > 20
    for endpoint, view in ours.items():
        found = getattr(import_module(view.__module__), view.__name__)
        assert endpoint == f"smtp_admin.{found.__name__}"


def test_an_unknown_action_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no action"):
        access.route("/x", "overview", "overview_show", action="look")


def test_a_test_of_typed_values_needs_configure_too(app: Flask) -> None:
    client = let_in(app, lambda action: action == "test")
    assert client.post(f"{LIST}new/test", data=FIELDS).status_code == 403


def test_who_may_only_view_is_offered_nothing_else(app: Flask) -> None:
    a_connection(app)
    page = let_in(app, lambda action: action == "view").get(LIST).text
    assert "smtp.example.org" in text(page)
    for word in ("Edit", "Delete", "Clone", "Add a connection", "Disable"):
        assert word not in text(page)


def test_headers_are_on_every_answer(app: Flask) -> None:
    client = let_in(app)
    answers = [
        client.get(path)
        for path in (LIST, f"{PREFIX}/nowhere", f"{PREFIX}/static/base.css", f"{PREFIX}/brand.css")
    ]
    state_of(app).authorize = None
    answers.append(client.get(LIST))
    assert [answer.status_code for answer in answers] == [200, 404, 200, 200, 403]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        answer.close()
    assert answers[0].headers["Cache-Control"] == "no-store"


def test_headers_are_on_what_is_answered_before_the_guard(app: Flask) -> None:
    app.add_url_rule("/smtp-administration", "other", lambda: "the host's own")
    client = let_in(app, lambda action: action == "view")
    answers = [
        client.open(LIST, method="PROPFIND"),
        client.get(f"{PREFIX}/queue"),
        client.get(PREFIX),
        client.get(f"{PREFIX}/static/nope"),
    ]
    assert [answer.status_code for answer in answers] == [405, 308, 308, 404]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Connections" not in answer.text
    for path in ("/smtp-administration", "/elsewhere"):
        assert "Content-Security-Policy" not in client.get(path).headers


@pytest.mark.parametrize("prefix", ["/smtp-admin", "/a/b/", "/"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PROPFIND", "TRACE"])
def test_what_no_view_answers_is_closed_as_well(tmp_path: Path, prefix: str, method: str) -> None:
    app = bare_app(tmp_path)
    SMTPAdmin(app, url_prefix=prefix, authorize=lambda action: False)
    app.add_url_rule("/a/bc", "other", lambda: "the host's own")
    client = app.test_client()
    root = prefix.rstrip("/")
    for path in ("", "/", "/queue", "/queue/", "/nowhere", "/queue//", "/messages/x"):
        answer = client.open(root + path or "/", method=method)
        if prefix != "/" or answer.status_code not in (308, 405):
            assert answer.status_code == 403, path
            assert not {"Location", "Allow"} & {*answer.headers.keys()}
    assert client.get("/a/bc").text == "the host's own"
    assert client.post("/a/bc").status_code == (403 if prefix == "/" else 405)


def test_a_redirect_to_the_host_s_login_stays(app: Flask) -> None:
    app.before_request(lambda: app.redirect("/login"))
    assert app.test_client().get(PREFIX).location == "/login"


def test_a_host_that_is_not_trusted_stays_a_bad_request(make_app: MakeApp) -> None:
    client = make_app(TRUSTED_HOSTS=["shop.example.org"]).test_client()
    assert client.get(LIST, base_url="http://rebound.example.org").status_code == 400
    assert client.get(LIST, base_url="http://shop.example.org").status_code == 403


def test_what_the_host_finds_out_before_a_request_counts_for_every_answer(app: Flask) -> None:
    let_in(app, lambda action: g.is_admin)

    @app.before_request
    def find_out() -> None:
        g.is_admin = True

    assert app.test_client().get(PREFIX).status_code == 308


def test_a_client_is_a_user_a_session_or_a_network(app: Flask) -> None:
    class Stored(SecureCookieSession):
        sid = "s1"

    class Kept(SessionInterface):
        def __init__(self, session: SecureCookieSession) -> None:
            self.session = session

        def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
            return self.session

    def client_of(address: str, session: SecureCookieSession) -> str:
        app.session_interface = Kept(session)
        with app.test_request_context(environ_base={"REMOTE_ADDR": address}):
            return access.client()

    nobody, ann = SecureCookieSession(), SecureCookieSession({"_user_id": "7"})
    assert client_of("192.0.2.1", ann) == client_of("192.0.2.2", ann)
    assert client_of("192.0.2.1", nobody) != client_of("192.0.2.2", nobody)
    assert client_of("2001:db8::1", nobody) == client_of("2001:db8::ffff:1", nobody)
    assert client_of("2001:db8::1", nobody) != client_of("2001:db8:0:1::1", nobody)
    assert client_of("::ffff:192.0.2.1", nobody) == client_of("192.0.2.1", nobody)
    assert client_of("unix:", nobody) == "address unix:"
    old, new = Stored(), Stored()
    old.new, new.new = False, True
    assert client_of("192.0.2.1", old) == client_of("192.0.2.2", old)
    assert client_of("192.0.2.1", new) == client_of("192.0.2.1", nobody)


def test_nothing_is_inline(app: Flask) -> None:
    number = a_connection(app)
    client = let_in(app)
    for path in (LIST, f"{LIST}new", f"{LIST}{number}/", f"{LIST}{number}/test", PREFIX + "/x"):
        page = client.get(path).text
        assert " style=" not in page
        assert "<style" not in page
        assert " onclick=" not in page
        assert "<script>" not in page


# ---------------------------------------------------------------- CSRF


@pytest.fixture
def guarded(app: Flask) -> Flask:
    """An application whose pages are open and whose forms are checked."""
    state_of(app).authorize = lambda action: True
    a_connection(app)
    a_connection(app, caption="Second")
    return app


def test_a_post_without_a_token_changes_nothing(guarded: Flask) -> None:
    client = guarded.test_client()
    answer = client.post(f"{LIST}1/disable")
    assert answer.status_code == 400
    assert "Reload and try again" in text(answer.text)
    assert "Nothing was changed" in text(answer.text)
    assert "Disable" in text(client.get(LIST).text)


def test_a_post_with_the_token_is_answered_with_303(guarded: Flask) -> None:
    client = guarded.test_client()
    good = token(client.get(LIST).text)
    answer = client.post(f"{LIST}1/disable", data={"csrf_token": good})
    assert answer.status_code == 303
    assert answer.location == LIST
    again = client.post(f"{LIST}1/enable", headers={"X-CSRFToken": good})
    assert again.status_code == 303


def test_a_token_of_another_session_is_refused(guarded: Flask) -> None:
    stolen = token(guarded.test_client().get(LIST).text)
    answer = guarded.test_client().post(f"{LIST}1/disable", data={"csrf_token": stolen})
    assert answer.status_code == 400


def test_an_expired_token_leads_back(guarded: Flask) -> None:
    guarded.config["WTF_CSRF_TIME_LIMIT"] = -1
    client = guarded.test_client()
    old = token(client.get(LIST).text)
    answer = client.post(
        f"{LIST}1/disable", data={"csrf_token": old}, headers={"Referer": f"http://localhost{LIST}"}
    )
    assert answer.status_code == 400
    assert f'href="{LIST}"' in answer.text


def test_the_way_back_never_leads_to_another_site(guarded: Flask) -> None:
    answer = guarded.test_client().post(
        f"{LIST}1/disable", headers={"Referer": "https://evil.example.net/smtp-admin/"}
    )
    assert "evil.example.net" not in answer.text


def test_a_host_without_csrf_gets_the_check_all_the_same(guarded: Flask) -> None:
    guarded.config["WTF_CSRF_ENABLED"] = False
    assert guarded.test_client().post(f"{LIST}1/disable").status_code == 400


def test_tests_of_the_host_may_switch_it_off(guarded: Flask) -> None:
    guarded.config["WTF_CSRF_ENABLED"] = False
    guarded.testing = True
    assert guarded.test_client().post(f"{LIST}1/disable").status_code == 303


def test_a_host_with_csrf_protect_needs_one_token(guarded: Flask) -> None:
    CSRFProtect(guarded)
    client = guarded.test_client()
    lost = client.post(f"{LIST}1/disable")
    assert lost.status_code == 400
    assert "Reload and try again" in text(lost.text)
    good = token(client.get(LIST).text)
    assert client.post(f"{LIST}1/disable", data={"csrf_token": good}).status_code == 303


def test_the_hosts_name_of_the_field_is_used(guarded: Flask) -> None:
    guarded.config["WTF_CSRF_FIELD_NAME"] = "_token"
    page = guarded.test_client().get(LIST).text
    assert 'name="_token"' in page
