"""Every rule of a connection, its sentence and its default."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import trustme

from flask_smtp_admin import connections
from flask_smtp_admin.config import Config
from flask_smtp_admin.connections import Checked, check
from flask_smtp_admin.connections.drivers import DRIVERS
from flask_smtp_admin.core import Core
from flask_smtp_admin.crypto import KeyRing
from flask_smtp_admin.errors import InvalidConnection
from flask_smtp_admin.models import AuthMechanism, Connection, Encryption

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
CERTIFICATE = trustme.CA().cert_pem.bytes().decode()
GOOD: dict[str, Any] = {
    "caption": "Main",
    "host": "smtp.example.org",
    "sender_name": "Shop",
    "sender_address": "shop@example.org",
    "use_auth": True,
    "username": "shop",
    "password": "s3cret",
}


def checked(config: Config | None = None, **changes: Any) -> Checked:
    return check({**GOOD, **changes}, config or Config(), now=NOW)


def error(field: str, config: Config | None = None, **changes: Any) -> str | None:
    return checked(config, **changes).errors.get(field)


def stored(**changes: Any) -> Connection:
    found = checked(**changes)
    assert not found.errors
    connection = Connection(id=1, uid="1" * 32, **found.values)
    connection.set_password("s3cret", KeyRing(["k"]), NOW)
    return connection


def test_good_fields_and_their_defaults() -> None:
    found = checked()
    assert found.errors == {}
    assert found.password == "s3cret"
    assert found.values["driver"] == "smtp"
    assert found.values["encryption"] is Encryption.STARTTLS
    assert found.values["auth_mechanism"] is AuthMechanism.AUTO
    assert [found.values[f"{name}_timeout"] for name in ("connect", "reply", "final")] == [
        10,
        30,
        600,
    ]
    assert found.values["max_sessions"] in (1, 2, 3)
    assert found.values["messages_per_session"] == 100
    assert found.values["enabled"] is True


@pytest.mark.parametrize(
    ("encryption", "port"), [("none", 25), ("starttls", 587), ("implicit", 465)]
)
@pytest.mark.parametrize("given", [{}, {"port": ""}, {"port": "  "}])
def test_an_empty_port_follows_the_encryption(
    encryption: str, port: int, given: dict[str, Any]
) -> None:
    assert checked(encryption=encryption, **given).values["port"] == port


@pytest.mark.parametrize("port", ["0", "49152", "99999", "-1", "+25", "2 5", "25.0", "smtp", "٢٥"])
def test_a_wrong_port(port: str) -> None:
    assert error("port", port=port) == "Please enter an SMTP port between 1 and 49151."


@pytest.mark.parametrize("port", ["1", "49151", "0025", 2525])
def test_a_good_port(port: str | int) -> None:
    assert checked(port=port).values["port"] == int(port)


@pytest.mark.parametrize("host", ["", "   ", "x" * 101, "smtp.example.org\r\nRSET"])
def test_a_wrong_host(host: str) -> None:
    assert error("host", host=host) == "Please enter an SMTP host within 100 characters."


@pytest.mark.parametrize("host", ["x" * 100, "::1", "192.0.2.1", "any text at all"])
def test_a_good_host(host: str) -> None:
    assert checked(host=host).values["host"] == host


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "Shop\nBcc: eve@example.org"])
def test_a_wrong_sender_name(name: str) -> None:
    assert error("sender_name", sender_name=name) == "Please enter a sender name."


@pytest.mark.parametrize(
    "address", ["", "shop", "shop@", "@example.org", "a b@example.org", "a@b@c"]
)
def test_a_wrong_sender_address(address: str) -> None:
    assert "address that recipients see" in str(error("sender_address", sender_address=address))


@pytest.mark.parametrize("caption", ["", "x" * 101])
def test_a_wrong_caption(caption: str) -> None:
    assert error("caption", caption=caption) == "Please enter a caption of 1 to 100 characters."


def test_a_caption_that_is_taken() -> None:
    found = check({**GOOD, "caption": "MAIN"}, Config(), captions={"main": 7})
    assert "Another connection is called “MAIN”" in found.errors["caption"]


# ---------------------------------------------------------------- account policies

EMAIL = Config(account_policy="email")


@pytest.mark.parametrize(
    "username",
    ["a@b.c", "shop.mail@example.org", "a-b@ex-ample.co.uk", "!#$%&'+/=^_`{|}~?@example.org"],
)
def test_email_policy_takes(username: str) -> None:
    assert error("username", EMAIL, username=username) is None


@pytest.mark.parametrize(
    "username",
    [
        "",
        "shop",
        "@example.org",
        "shop@example",
        "shop@.org",
        "shop@example.",
        ".shop@example.org",
        "shop.@example.org",
        "sh..op@example.org",
        "sh op@example.org",
        "sh*p@example.org",
        "shöp@example.org",
        "shop@exämple.org",
        "x" * 89 + "@example.org",
    ],
)
def test_email_policy_refuses(username: str) -> None:
    sentence = "Please enter an SMTP account address in email format."
    assert error("username", EMAIL, username=username) == sentence


def test_any_policy_takes_plain_login_names() -> None:
    assert error("username", username="apikey") is None
    assert error("username", username="x" * 255) is None
    assert error("username", username="x" * 256) is not None
    assert error("username", username="") is not None


def test_without_authentication_username_and_password_are_ignored() -> None:
    found = checked(EMAIL, use_auth=False, username="no address", password="")
    assert found.errors == {}
    assert found.values["use_auth"] is False


# ---------------------------------------------------------------- passwords


def test_a_new_connection_with_authentication_needs_a_password() -> None:
    assert "password" in str(error("password", password=""))


def test_both_passwords_are_equal() -> None:
    assert error("confirm_password", confirm_password="s3cret") is None
    assert error("confirm_password", confirm_password="other") is not None
    assert error("confirm_password", confirm_password="") is not None


def test_strict_policy() -> None:
    strict = Config(password_policy="strict")
    sentence = "The SMTP account password does not meet the rules."
    assert error("password", strict) == sentence
    assert error("password", strict, password="Kp7!Wz2@Ht") is None


@pytest.mark.parametrize(
    "change",
    [
        {"host": "evil.example.net"},
        {"port": "26"},
        {"username": "eve"},
        {"encryption": "none"},
        {"ca_certificate": CERTIFICATE},
        {"auth_mechanism": "PLAIN"},
        {"allow_plain_auth": True},
        {"driver": "pigeon"},
    ],
)
@pytest.mark.parametrize("confirmed", [{}, {"confirm_password": ""}, {"confirm_password": "guess"}])
def test_a_stored_password_goes_nowhere_else(
    change: dict[str, str], confirmed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRIVERS, "pigeon", "Carrier pigeon")
    kept = {**GOOD, "password": "", "port": 587}
    found = check({**kept, **change, **confirmed}, Config(), stored=stored())
    assert "again" in found.errors["password"]
    assert found.password is None


def test_what_leads_nowhere_else_keeps_the_password() -> None:
    found = check({"caption": "New", "sender_name": "x"}, Config(), stored=stored())
    assert found.errors == {}
    assert found.password is None
    assert not found.forget_password


def test_another_certificate_needs_the_password_and_the_same_one_in_other_lines_does_not() -> None:
    connection = stored(ca_certificate=CERTIFICATE)
    same = {"ca_certificate": CERTIFICATE.replace("\n", "\r\n")}
    assert check(same, Config(), stored=connection).errors == {}
    cleared = check({"ca_certificate": ""}, Config(), stored=connection)
    assert "again" in cleared.errors["password"]


def test_a_driver_of_another_process_may_stay() -> None:
    connection = stored()
    connection.driver = "pigeon"
    assert check({"driver": "pigeon"}, Config(), stored=connection).errors == {}
    assert "driver" in check({"driver": "owl"}, Config(), stored=connection).errors
    assert "driver" in checked(driver="pigeon").errors


def test_another_host_with_its_own_password_or_none() -> None:
    again = check({"host": "b.example.org", "password": "other"}, Config(), stored=stored())
    assert again.errors == {}
    cleared = check({"host": "b.example.org", "clear_password": True}, Config(), stored=stored())
    assert cleared.errors == {}
    assert cleared.forget_password


def test_switching_authentication_off_does_not_smuggle_the_password_out() -> None:
    """Off with another host, then on again: the password must be gone in between."""
    found = check({"host": "evil.example.net", "use_auth": False}, Config(), stored=stored())
    assert found.errors == {}
    assert found.forget_password


# ---------------------------------------------------------------- the others


def test_numbers() -> None:
    assert error("connect_timeout", connect_timeout="0") is not None
    assert error("connect_timeout", connect_timeout="ten") is not None
    assert error("limit_per_minute", limit_per_minute="0") is not None
    assert checked(limit_per_minute="").values["limit_per_minute"] is None
    assert checked(limit_per_hour="100").values["limit_per_hour"] == 100
    assert error("max_sessions", max_sessions="") is not None
    assert checked(max_attempts="3").values["max_attempts"] == 3


def test_choices() -> None:
    assert error("encryption", encryption="ssl") is not None
    assert error("auth_mechanism", auth_mechanism="NTLM") is not None
    assert error("driver", driver="pigeon") is not None
    assert checked(auth_mechanism="CRAM-MD5").values["auth_mechanism"] is AuthMechanism.CRAM_MD5


def test_sender_patterns() -> None:
    found = checked(sender_patterns="Ann@Example.org\r\n\r\n  *@EXÄMPLE.org\n*")
    assert found.values["sender_patterns"].split("\n") == [
        "ann@example.org",
        "*@xn--exmple-cua.org",
        "*",
    ]
    assert "“nobody”" in str(error("sender_patterns", sender_patterns="*@example.org\nnobody"))


def test_fallback() -> None:
    ids = frozenset({1, 2})
    connection = stored()
    good = check({"fallback_id": "2"}, Config(), stored=connection, ids=ids)
    assert good.values["fallback_id"] == 2
    assert (
        "itself"
        in check({"fallback_id": "1"}, Config(), stored=connection, ids=ids).errors["fallback_id"]
    )
    assert "fallback_id" in check({"fallback_id": "3"}, Config(), stored=connection, ids=ids).errors


def test_certificate() -> None:
    authority = trustme.CA()
    pem = authority.cert_pem.bytes().decode()
    assert checked(ca_certificate=pem).values["ca_certificate"] == pem.strip()
    assert "PEM" in str(error("ca_certificate", ca_certificate="hello"))
    assert "PEM" in str(error("ca_certificate", ca_certificate=pem[:-60]))
    key = authority.private_key_pem.bytes().decode()
    assert "private key" in str(error("ca_certificate", ca_certificate=pem + key))


def test_a_certificate_that_ended() -> None:
    leaf = trustme.CA().issue_cert("x.example.org", not_after=NOW - timedelta(days=1))
    pem = leaf.cert_chain_pems[0].bytes().decode()
    assert "ended on 2026-11-21" in str(error("ca_certificate", ca_certificate=pem))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hots", "Did you mean host?"),
        ("user_name", "Did you mean username or "),
        ("zzz", "It has: caption, host, "),
    ],
)
def test_an_unknown_field_is_named_with_those_near_it(name: str, hint: str) -> None:
    fields: dict[str, Any] = {name: "x"}
    sentence = checked(**fields).errors[name]
    assert sentence.startswith("A connection has no such field.")
    assert hint in sentence


def test_an_unknown_field_stores_nothing(core: Core) -> None:
    fields = {"caption": "a", "host": "h.example.org", "sender_name": "s"}
    with pytest.raises(InvalidConnection, match="user: A connection has no such field"):
        connections.create(core, {**fields, "sender_address": "a@example.org", "user": "x"})
