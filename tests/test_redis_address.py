"""The address of Redis is taken apart strictly, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_smtp_admin import redis_address
from flask_smtp_admin.config import Config
from flask_smtp_admin.errors import ConfigurationError
from tests.servers.redis_forms import Papers


def test_sentinels_services_and_both_passwords_are_found() -> None:
    found = redis_address.sentinels(
        "redis+sentinel://app:da%2Fta@one,two:26380,[::1]:26381/my%20master/3"
        "?sentinel_username=watch&sentinel_password=tower&socket_timeout=2&health_check_interval=30"
    )

    assert found.hosts == (("one", 26379), ("two", 26380), ("::1", 26381))
    assert (found.service, found.tls) == ("my master", False)
    assert found.options == {
        "username": "app",
        "password": "da/ta",
        "db": 3,
        "socket_timeout": 2.0,
        "health_check_interval": 30,
    }
    assert found.own_options == {"username": "watch", "password": "tower", "socket_timeout": 2.0}


def test_what_is_said_of_tls_is_said_of_the_sentinels_too_unless_they_have_their_own() -> None:
    found = redis_address.sentinels(
        "rediss+sentinel://one/mymaster?ssl_cert_reqs=none&ssl_check_hostname=no"
        "&sentinel_ssl_cert_reqs=required"
    )
    assert found.tls
    assert found.options == {"db": 0, "ssl_cert_reqs": "none", "ssl_check_hostname": False}
    assert found.own_options == {"ssl_cert_reqs": "required", "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sentinel://:hidden@one:26379/mymaster", "must begin with one of redis://, .*sentinel://"),
        ("redis-sentinel://:hidden@one", "must begin with one of"),
        ("REDIS://:hidden@one", "must begin with one of"),
        ("redis+sentinel://:hidden@one,two", "which of their services"),
        ("redis+sentinel://:hidden@one,two/", "which of their services"),
        ("redis+sentinel://:hidden@one,two//0", "which of their services"),
        ("redis+sentinel://:hidden@/mymaster", "name the sentinels as host or host:port"),
        ("redis+sentinel://:hidden@one,,two/mymaster", "name the sentinels as host or host:port"),
        ("redis+sentinel://:hidden@one:/mymaster", "name the sentinels as host or host:port"),
        ("redis+sentinel://:hidden@one:many/mymaster", "name the sentinels as host or host:port"),
        ("redis+sentinel://:hidden@one:99999/mymaster", "name the sentinels as host or host:port"),
        ("redis+sentinel://:hidden@[::1/mymaster", "name the sentinels as host or host:port"),
        ("redis+sentinel://:hidden@one/mymaster/first", "a number for the database"),
        ("redis+sentinel://:hidden@one/mymaster/0/1", "a number for the database"),
        ("redis+sentinel://:hidden@one/mymaster?foo=1", "only options of redis-py"),
        ("redis+sentinel://:hidden@one/mymaster?sentinel_foo=1", "only options of redis-py"),
        ("redis+sentinel://:hidden@one/mymaster?socket_timeout=soon", "only options of redis-py"),
        ("redis+sentinel://:hidden@one/mymaster?ssl_cert_reqs=none", "with rediss:// alone"),
        ("redis://:hidden@one/first", "a number for the database"),
        ("rediss://:hidden@[::1/0", "is not an address that redis-py"),
        ("redis://:hid#den@one/0", "written as %2F %3F %23 %40"),
        ("redis://:hidden@one/0?ssl_cert_reqs=none", "with rediss:// alone"),
        ("rediss://:hidden@one/0?ssl_cert_reqs=perhaps", "only options of redis-py"),
        ("rediss://:hidden@one/0?ssl_ca_certs=/nowhere/ca.pem", "names /nowhere/ca.pem, which"),
        ("rediss+sentinel://:hidden@one/m?ssl_certfile=/nowhere/my.pem", "names /nowhere/my.pem"),
        ("rediss+sentinel://:hidden@one/m?sentinel_ssl_ca_certs=/no.pem", "names /no.pem, which"),
        ("unix://run/redis.sock?password=hidden", "the path begins with a third slash"),
        ("unix://:hidden@?db=0", "names no socket; the path begins with a third slash"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^SMTP_ADMIN_REDIS_URL .*{sentence}") as caught:
        Config.from_mapping({"SMTP_ADMIN_REDIS_URL": url})
    assert "hidden" not in str(caught.value)
    assert (
        "'redis" in str(caught.value) or "'unix" in str(caught.value) or "PEM" in str(caught.value)
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_certificate_file_must_hold_one(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    scribble = tmp_path / "scribble.pem"
    scribble.write_text("no certificate")
    good = f"ssl_ca_certs={papers.authority}&ssl_certfile={papers.certificate}&ssl_keyfile={papers.key}"
    redis_address.check(f"rediss://one/0?{good}")

    for option in ("ssl_ca_certs", "ssl_certfile"):
        with pytest.raises(ValueError, match=r"scribble\.pem, which cannot be used"):
            redis_address.check(f"rediss://one/0?{option}={scribble}")


def test_passwords_are_not_in_what_is_printed() -> None:
    found = redis_address.sentinels(
        "redis+sentinel://:hidden@one/mymaster?sentinel_password=hidden"
    )
    assert "mymaster" in repr(found)
    assert "hidden" not in repr(found)
