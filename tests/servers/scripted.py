"""A mail server that behaves, except at the steps where a test tells it otherwise.

Raw sockets and threads on loopback. It keeps a journal of what it was told and of the messages that
it accepted: the oracle for "sent if and only if the server accepted it".
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hmac
import re
import select
import socket
import ssl
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"
USERNAME, PASSWORD = "alice", "s3cret"
CHALLENGE = b"<1896.697170952@scripted.test>"

EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "AUTH PLAIN LOGIN CRAM-MD5")


class Step(str, Enum):
    """The steps at which something can go wrong, in the order in which a session meets them."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    SECOND_EHLO = "second_ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"
    QUIT = "quit"


class Gone(Exception):
    """This session is over."""


@dataclass(frozen=True)
class Accepted:
    """A message that the server took: it said 2xx to the dot, or would have.

    :param is_told: whether the client was told so, or the reply was lost; ``None``: it was said, and
        a reset may have overtaken it.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    is_told: bool | None = True

    @property
    def message_id(self) -> str:
        """What the Message-ID header says, with its angle brackets."""
        found = re.search(rb"(?im)^message-id: *(<[^>]+>)", self.content)
        assert found, "a message without a Message-ID"
        return found[1].decode()


@dataclass
class _Envelope:
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)


class Peer:
    """The server's end of one session, for behaviours to use."""

    def __init__(self, sock: socket.socket, server: ScriptedServer) -> None:
        self.sock = sock
        self.server = server
        self.buffer = b""
        self.encrypted = False
        self.command = ""
        """What the client has said last."""
        self.envelope = _Envelope()
        self.offered: Accepted | None = None
        """What the client has just ended with its dot."""
        self.taken = 0
        """How many messages were taken in this session."""
        self.unread: Accepted | None = None
        """The message that was taken last, if the client has not shown yet that it knows."""

    def accept(self, message: Accepted, text: str) -> None:
        """Take a message and say so."""
        self.server.take(message)
        self.taken += 1
        self.unread = message
        self.say(text)

    def say(self, text: str) -> None:
        """Write one reply; ``\\n`` in *text* makes further lines as they stand."""
        self.raw(text.replace("\n", "\r\n").encode() + b"\r\n")

    def raw(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def line(self) -> str:
        while b"\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode(errors="replace")

    def more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data


Behaviour = Callable[[Peer], None]


# ---------------------------------------------------------------- behaviours


def say(text: str) -> Behaviour:
    """Answer *text* and go on."""
    return lambda peer: peer.say(text)


def write(data: bytes) -> Behaviour:
    """Write *data* as it is and go on."""
    return lambda peer: peer.raw(data)


def taking(behaviour: Behaviour) -> Behaviour:
    """Take the message that the dot ends, and then misbehave instead of saying so."""

    def take(peer: Peer) -> None:
        peer.server.take(replace(_offered(peer), is_told=False))
        behaviour(peer)

    return take


def take_saying(text: str) -> Behaviour:
    """Take the message that the dot ends, and say so in other words."""

    return lambda peer: peer.accept(_offered(peer), text)


def _offered(peer: Peer) -> Accepted:
    assert peer.offered is not None, "only at the dot there is a message to be taken"
    return peer.offered


def take_recipient_saying(text: str) -> Behaviour:
    """Take the recipient whom the client has named, and say so in other words."""

    def take(peer: Peer) -> None:
        peer.envelope.recipients.append(_path(peer.command))
        peer.say(text)

    return take


def close(peer: Peer) -> None:
    raise Gone


def reset(peer: Peer) -> None:
    """End with an RST instead of a FIN. It may overtake what the client has not read yet."""
    if peer.unread is not None:
        peer.server.doubt(peer.unread)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


def silence(peer: Peer) -> None:
    """Neither read nor write until the server stops."""
    peer.server.stopping.wait()
    raise Gone


def drip(peer: Peer) -> None:
    """A reply of which a byte comes now and then, and never the end."""
    for byte in b"250-" + b"x" * 8000:
        peer.raw(bytes([byte]))
        if peer.server.stopping.wait(0.05):
            break
    raise Gone


def garbage(peer: Peer) -> None:
    peer.raw(b"\x00\xff\xfeHTTP/1.1 400 Bad Request\r\n\r\n")


def long_line(peer: Peer) -> None:
    peer.raw(b"250 " + b"x" * 9000 + b"\r\n")


def endless(peer: Peer) -> None:
    while not peer.server.stopping.is_set():
        peer.raw(b"250-and another thing\r\n" * 500)
    raise Gone


temporary = say("451 4.3.0 not now")
permanent = say("554 5.0.0 never")
leaving = say("421 4.3.2 shutting down")

FAULTS: dict[str, Behaviour] = {
    "close": close,
    "silence": silence,
    "drip": drip,
    "reset": reset,
    "4xx": temporary,
    "5xx": permanent,
    "garbage": garbage,
    "long line": long_line,
    "endless": endless,
}


# ---------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Identity:
    """A certificate and key for the server, and what a client has to trust for it (PEM)."""

    context: ssl.SSLContext
    ca_pem: str
    certificate_pem: str


def identity(*names: str, expired: bool = False, not_yet: bool = False) -> Identity:
    """A certificate for *names* (default: the loopback) from a private CA."""
    ca = trustme.CA()
    now = dt.datetime.now(dt.timezone.utc)
    day = dt.timedelta(days=1)
    issued = ca.issue_cert(
        *(names or (HOST, "localhost")),
        not_before=now + day if not_yet else now - 9 * day,
        not_after=now - day if expired else now + 30 * day,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    certificate = issued.cert_chain_pems[0].bytes().decode()
    return Identity(context, ca.cert_pem.bytes().decode(), certificate)


def self_signed() -> Identity:
    """A certificate for the loopback that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(private + pem)
        context.load_cert_chain(path)
    return Identity(context, pem.decode(), pem.decode())


# ---------------------------------------------------------------- the server


@dataclass
class _Rule:
    """What is done at a step to those whom it concerns, so many times."""

    concerns: Callable[[Peer], bool]
    behaviour: Behaviour
    times: int


class ScriptedServer:
    """A context manager; ``port`` is free to use inside. Several sessions at once are fine.

    ``commands`` is what it was told, by all sessions in order; ``accepted`` what it took;
    ``sessions`` how many connections it has seen, ``gathered`` how many of the first side by side.

    :param gather: so many connections must have come before any is met, so that the first ones are
        there side by side however fast one of them is.
    """

    def __init__(
        self,
        *,
        tls: Identity | None = None,
        implicit: bool = False,
        extensions: tuple[str, ...] = EXTENSIONS,
        gather: int = 1,
    ) -> None:
        self._tls = tls
        self._implicit = implicit
        self._extensions = extensions
        self._scripts: dict[Step, deque[Behaviour | None]] = defaultdict(deque)
        self._rules: dict[Step, list[_Rule]] = defaultdict(list)
        self._always: dict[Step, Behaviour] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self._socks: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.host = HOST
        self.port: int = self._listener.getsockname()[1]
        self.stopping = threading.Event()
        self.commands: list[str] = []
        self.accepted: list[Accepted] = []
        self.sessions = 0
        self.gathered = 1
        self._gather = gather
        self._is_gathered = threading.Event()
        if gather <= 1:
            self._is_gathered.set()

    def __enter__(self) -> ScriptedServer:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._is_gathered.set()
        # shutdown wakes whoever is blocked in accept or recv; close alone does not.
        for sock in [self._listener, *self._socks]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)

    def on(self, step: Step, *behaviours: Behaviour | None) -> ScriptedServer:
        """At *step* do each of *behaviours* in turn, once each, and behave well afterwards.

        None stands for behaving well.
        """
        self._scripts[step].extend(behaviours)
        return self

    def when(
        self, step: Step, concerns: Callable[[Peer], bool], behaviour: Behaviour, times: int = 1
    ) -> ScriptedServer:
        """At *step* do *behaviour* to those whom it *concerns*, so many times in all.

        It goes before what :meth:`on` and :meth:`always` say. With several sessions side by side it
        finds its victim whoever comes first.
        """
        self._rules[step].append(_Rule(concerns, behaviour, times))
        return self

    def always(self, step: Step, behaviour: Behaviour) -> ScriptedServer:
        """At *step* do *behaviour* whenever it is met."""
        self._always[step] = behaviour
        return self

    # ------------------------------------------------------------- threads

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            # Else a second small reply would wait until the client's machine confirms the first.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sessions += 1
            self._socks.add(sock)
            self._start(self._serve, sock)
            if self.sessions >= self._gather and not self._is_gathered.is_set():
                self.gathered = sum(not _has_left(one) for one in tuple(self._socks))
                self._is_gathered.set()

    def _serve(self, sock: socket.socket) -> None:
        peer = Peer(sock, self)
        try:
            self._session(peer)
        except (Gone, OSError):
            pass
        finally:
            self._socks.discard(sock)
            peer.sock.close()

    def take(self, message: Accepted) -> None:
        """Put a message into the journal."""
        with self._lock:
            self.accepted.append(message)

    def doubt(self, message: Accepted) -> None:
        """Note that the client may not have heard of a message in the journal."""
        with self._lock:
            number = next(n for n, one in enumerate(self.accepted) if one is message)
            self.accepted[number] = replace(message, is_told=None)

    # ------------------------------------------------------------- the protocol

    def _meet(self, step: Step, peer: Peer, honest: Callable[[], None]) -> None:
        with self._lock:
            behaviour = self._next_behaviour(step, peer)
        if behaviour is None:
            honest()
        else:
            behaviour(peer)

    def _wait_for_others(self, peer: Peer) -> None:
        """Wait until all have come who are to be gathered; one that leaves before is none of them."""
        while not self._is_gathered.wait(0.01):
            if _has_left(peer.sock):
                raise Gone

    def _next_behaviour(self, step: Step, peer: Peer) -> Behaviour | None:
        for rule in self._rules[step]:
            if rule.times and rule.concerns(peer):
                rule.times -= 1
                return rule.behaviour
        script = self._scripts[step]
        return script.popleft() if script else self._always.get(step)

    def _session(self, peer: Peer) -> None:
        self._wait_for_others(peer)
        self._meet(Step.CONNECT, peer, lambda: None)
        if self._implicit:
            self._meet(Step.HANDSHAKE, peer, lambda: self._shake_hands(peer))
        self._meet(Step.BANNER, peer, lambda: peer.say("220 scripted.test ready"))
        while True:
            line = peer.command = peer.line()
            with self._lock:
                self.commands.append(line)
            verb = line[:4].upper()
            if verb not in {"MAIL", "RCPT"}:  # those may come before the reply has arrived
                peer.unread = None
            if verb in {"EHLO", "HELO"}:
                step = Step.SECOND_EHLO if peer.encrypted and not self._implicit else Step.EHLO
                self._meet(step, peer, lambda: self._greet(peer))
            elif verb == "STAR":
                self._meet(Step.STARTTLS, peer, lambda: peer.say("220 go ahead"))
                self._meet(Step.HANDSHAKE, peer, lambda: self._shake_hands(peer))
            elif verb == "AUTH":
                self._meet(Step.AUTH, peer, lambda line=line: self._log_in(peer, line))  # type: ignore[misc]
            elif verb == "RSET":
                peer.envelope = _Envelope()
                peer.say("250 forgotten")
            elif verb == "QUIT":
                self._meet(Step.QUIT, peer, lambda: peer.say("221 bye"))
                return
            else:
                peer.envelope = self._transaction(peer, verb, line, peer.envelope)

    def _greet(self, peer: Peer) -> None:
        offered = list(self._extensions)
        if self._tls and not peer.encrypted:
            offered.append("STARTTLS")
        lines = ["scripted.test", *offered]
        for number, text in enumerate(lines, 1):
            peer.say(f"250{' ' if number == len(lines) else '-'}{text}")

    def _shake_hands(self, peer: Peer) -> None:
        assert self._tls is not None
        raw = peer.sock
        peer.sock = self._tls.context.wrap_socket(raw, server_side=True)
        self._socks.discard(raw)
        self._socks.add(peer.sock)
        peer.encrypted = True

    def _log_in(self, peer: Peer, line: str) -> None:
        _, mechanism, *initial = line.split(" ")
        if mechanism == "PLAIN":
            good = bool(initial) and base64.b64decode(initial[0]) == _plain()
        elif mechanism == "LOGIN":
            good = (self._ask(peer, b"User:"), self._ask(peer, b"Pass:")) == (USERNAME, PASSWORD)
        elif mechanism == "CRAM-MD5":
            digest = hmac.new(PASSWORD.encode(), CHALLENGE, "md5").hexdigest()
            good = self._ask(peer, CHALLENGE) == f"{USERNAME} {digest}"
        else:
            self._ask(peer, b'{"status":"401","schemes":"bearer"}')
            good = False
        peer.say("235 2.7.0 welcome" if good else "535 5.7.8 wrong user or password")

    def _ask(self, peer: Peer, challenge: bytes) -> str:
        peer.say("334 " + base64.b64encode(challenge).decode())
        answer = peer.line()
        with self._lock:
            self.commands.append(answer)
        return base64.b64decode(answer).decode()

    def _transaction(self, peer: Peer, verb: str, line: str, envelope: _Envelope) -> _Envelope:
        if verb == "MAIL":
            if envelope.sender is not None:
                peer.say("503 5.5.1 one at a time")
                return envelope
            self._meet(Step.MAIL, peer, lambda: self._take_mail(peer, line, envelope))
        elif verb == "RCPT":
            if envelope.sender is None:
                peer.say("503 5.5.1 MAIL first")
            else:
                self._meet(Step.RCPT, peer, lambda: self._take_recipient(peer, line, envelope))
        elif verb == "DATA":
            return self._data(peer, envelope)
        else:
            peer.say("500 5.5.2 what?")
        return envelope

    def _take_mail(self, peer: Peer, line: str, envelope: _Envelope) -> None:
        envelope.sender = _path(line)
        peer.say("250 2.1.0 ok")

    def _take_recipient(self, peer: Peer, line: str, envelope: _Envelope) -> None:
        envelope.recipients.append(_path(line))
        peer.say("250 2.1.5 ok")

    def _data(self, peer: Peer, envelope: _Envelope) -> _Envelope:
        if not envelope.recipients:
            going_on = self._answer_data(peer, "554 5.5.1 no valid recipients")
        else:
            going_on = self._answer_data(peer, "354 go ahead")
        if not going_on:
            return envelope
        content = self._content(peer)
        if content is None:
            return _Envelope()
        took = Accepted(envelope.sender or "", tuple(envelope.recipients), content)
        peer.offered = took
        said: list[str] = []
        self._meet(Step.DOT, peer, lambda: said.append("250 2.0.0 taken"))
        if said and took.recipients:
            peer.accept(took, said[0])
        elif said:
            peer.say("554 5.5.1 no valid recipients")
        return _Envelope()

    def _answer_data(self, peer: Peer, honest: str) -> bool:
        """True when the client may send the message now."""
        answers: list[bytes] = []
        spy = _Spy(peer, answers)
        self._meet(Step.DATA, spy, lambda: spy.say(honest))
        return b"".join(answers).startswith(b"354")

    def _content(self, peer: Peer) -> bytes | None:
        """The message without its dot-stuffing; None when a behaviour took its place."""
        if not peer.buffer:
            peer.more()
        met: list[bool] = []
        self._meet(Step.BODY, peer, lambda: met.append(True))
        if not met:
            return None
        while not (peer.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in peer.buffer):
            peer.more()
        if peer.buffer.startswith(b".\r\n"):
            peer.buffer = peer.buffer[3:]
            return b""
        content, _, peer.buffer = peer.buffer.partition(b"\r\n.\r\n")
        content += b"\r\n"
        unstuffed = content.replace(b"\r\n.", b"\r\n")
        return unstuffed[1:] if unstuffed.startswith(b".") else unstuffed


class _Spy(Peer):
    """A peer that also notes what is said, to know whether DATA was answered with 354."""

    def __init__(self, peer: Peer, answers: list[bytes]) -> None:
        super().__init__(peer.sock, peer.server)
        vars(self).update(vars(peer))
        self._answers = answers

    def raw(self, data: bytes) -> None:
        self._answers.append(data)
        super().raw(data)


def _has_left(sock: socket.socket) -> bool:
    """Tell whether the client of a session has gone that has not been met yet."""
    try:
        readable, _, _ = select.select([sock], [], [], 0)
        return bool(readable) and not sock.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):  # it was reset, or is closed already
        return True


def _path(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]


def _plain() -> bytes:
    return f"\0{USERNAME}\0{PASSWORD}".encode()
