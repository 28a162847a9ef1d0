"""The address policy and the dialer: what may be connected to, and what is."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from flask_smtp_admin.smtp import Endpoint, Failure, Session, SessionError, Stage
from flask_smtp_admin.smtp.addresses import forbidden
from flask_smtp_admin.smtp.dialer import ascii_host
from tests.servers.scripted import ScriptedServer
from tests.smtp.endpoints import opened, patient

NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd00:ec2::23",  # EKS Pod Identity
    "fd00:ec2::253",  # the resolver of a VPC
    "168.63.129.16",  # Azure's WireServer
    "::ffff:168.63.129.16",
    "::ffff:0:169.254.169.254",  # SIIT
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "2002:a9fe:a9fe::1",  # 6to4
    "64:ff9b::a9fe:a9fe",  # NAT64
    "64:ff9b:1::a9fe:a9fe",
    "2001:0:a9fe:a9fe::1",  # Teredo server
    "2001:0:4136:e378:8000:63bf:5601:5601",  # Teredo client, inverted
    "2001:db8::5efe:a9fe:a9fe",  # ISATAP
]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "192.88.99.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "2001:db8::1",
    "2001:1::4",
    "2001:2::1",
    "2001:2:1::1",
    "2001:5::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff::1",
    "::ffff:0:10.0.0.1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "4000::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::10.0.0.1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "64:ff9b::7f00:1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:200::1",
    "2001:3::1",
]


@pytest.mark.parametrize("text", NEVER)
@pytest.mark.parametrize("allow_private", [True, False])
def test_never(text: str, allow_private: bool) -> None:
    assert forbidden(ipaddress.ip_address(text), allow_private=allow_private)


@pytest.mark.parametrize("text", PRIVATE)
def test_private_only_when_allowed(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert forbidden(address, allow_private=False)
    assert not forbidden(address, allow_private=True)


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert not forbidden(ipaddress.ip_address(text), allow_private=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0", "0xa9.254.169.254", "::"])
def test_a_session_does_not_go_there(host: str) -> None:
    with pytest.raises(SessionError) as caught:
        Session(Endpoint(host, 25)).open()
    assert caught.value.stage is Stage.RESOLVE
    assert caught.value.failure is Failure.ADDRESS_FORBIDDEN


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433"])
def test_the_loopback_by_any_spelling_is_private(host: str) -> None:
    with ScriptedServer() as server:
        with pytest.raises(SessionError) as caught:
            Session(patient(server, host=host, allow_private=False)).open()
        assert caught.value.failure is Failure.ADDRESS_FORBIDDEN
        assert server.sessions == 0


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server:
        with socket.create_server(("127.0.0.2", 0)) as taken:
            closed = taken.getsockname()[1]
        answers = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", closed)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
        session = opened(server, host="two.example.test")
        told = [line.text for line in session.dialogue_since() if line.direction == "*"]
        assert told[0] == "two.example.test is 127.0.0.2, 127.0.0.1"
        assert told[1].startswith("127.0.0.2: ")
        assert told[2] == "connected to 127.0.0.1"


@pytest.mark.parametrize(
    "host", ["nosuch.invalid", "a..b", "x" * 64 + ".test", "bücher\u3002\u3002"]
)
def test_a_name_that_leads_nowhere(host: str) -> None:
    with pytest.raises(SessionError) as caught:
        Session(Endpoint(host, 25)).open()
    assert caught.value.failure in {Failure.NAME_NOT_FOUND, Failure.NAME_LOOKUP_FAILED}
    assert caught.value.verdict.summary


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SessionError) as caught:
        Session(Endpoint("127.0.0.1", port)).open()
    assert caught.value.failure is Failure.REFUSED


def test_international_host_names() -> None:
    assert ascii_host("bücher.example") == "xn--bcher-kva.example"
    assert ascii_host("[::1]") == "::1"
    assert ascii_host("mail.example.") == "mail.example"
