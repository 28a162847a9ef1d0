"""Nine faults at thirteen steps: whatever a server does, the outcome is told, and told right."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from flask_smtp_admin.smtp import (
    BLOCKING,
    Outcome,
    Scope,
    Session,
    SessionError,
    Stage,
    Transaction,
)
from tests.servers.scripted import (
    FAULTS,
    Gone,
    Identity,
    Peer,
    ScriptedServer,
    Step,
    identity,
    taking,
)
from tests.smtp.endpoints import ALICE, Impatience, envelope, opened, patient
from tests.waiting import GENEROUS_SECONDS, wait_until

T = TypeVar("T")

# Larger than what fits into the buffers between the two, so that the server can act before the
# final dot is written.
LARGE = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 120_000

OPENING = {
    # A reset may be as quick as the connection itself.
    Step.CONNECT: {Stage.CONNECT, Stage.GREETING},
    Step.BANNER: {Stage.CONNECT, Stage.GREETING},
    Step.EHLO: {Stage.EHLO},
    Step.STARTTLS: {Stage.TLS},
    Step.HANDSHAKE: {Stage.TLS},
    Step.SECOND_EHLO: {Stage.EHLO},
    Step.AUTH: {Stage.AUTH},
}
SENDING = {
    Step.MAIL: Stage.MAIL,
    Step.RCPT: Stage.RCPT,
    Step.DATA: Stage.DATA,
    Step.BODY: Stage.BODY,
    Step.DOT: Stage.BODY,
}


# The faults that end with a time-out of ours: words without end, too, while the message is written.
WAITING = {"silence", "drip"}


def _session(
    server: ScriptedServer, step: Step, fault: str, *, pipelining: bool = True, **changes: Any
) -> Session:
    """A session with a server that misbehaves at a step."""
    endpoint = patient(server, **changes)
    if fault not in WAITING and (step, fault) != (Step.BODY, "endless"):
        server.on(step, FAULTS[fault])
        return Session(endpoint, pipelining=pipelining)
    impatience = Impatience()
    server.on(step, impatience.with_(FAULTS[fault]))
    return Session(endpoint, impatience.clock, pipelining=pipelining, waiter=impatience)


@pytest.fixture(scope="module")
def certificate() -> Identity:
    return identity()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", OPENING)
def test_a_fault_while_opening_is_a_session_error_about_the_connection(
    step: Step, fault: str, certificate: Identity
) -> None:
    with ScriptedServer(tls=certificate) as server:
        session = _session(
            server, step, fault, encryption="starttls", ca_certificate=certificate.ca_pem, **ALICE
        )
        with pytest.raises(SessionError) as caught:
            session.open()
        error = caught.value
        assert error.stage in OPENING[step]
        assert error.verdict.scope is Scope.CONNECTION
        assert not error.verdict.accepted
        assert error.verdict.summary.endswith(".")
        assert not session.usable
        session.quit()
        assert server.accepted == []


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", SENDING)
def test_a_fault_while_sending_is_told_and_never_a_false_success(
    step: Step, fault: str, pipelining: bool
) -> None:
    with ScriptedServer() as server:
        session = _session(server, step, fault, pipelining=pipelining)
        session.open()
        content = LARGE if step is Step.BODY else b"Subject: x\r\n\r\nhi\r\n"
        result = session.send(envelope(content=content))

        assert result.accepted is False
        assert server.accepted == []
        # A reset overtakes the replies that were on their way: it is then met before them.
        overtaken = pipelining and fault == "reset" and step in {Step.RCPT, Step.DATA}
        assert overtaken or result.stage is SENDING[step]
        _check_verdict(result, step, fault)
        session.quit()


def _check_verdict(result: Transaction, step: Step, fault: str) -> None:
    verdict = result.verdict
    told_no = fault in {"4xx", "5xx"}
    assert verdict.uncertain == (step is Step.DOT and not told_no)
    assert len(result.recipients) == 1
    assert result.recipients[0].verdict.outcome is verdict.outcome
    if fault == "5xx":
        assert verdict.outcome is Outcome.PERMANENT
    else:
        assert verdict.outcome is Outcome.TEMPORARY
    if not told_no:
        assert verdict.reconnect
        assert not result.usable
        lost_before_the_dot = step is not Step.DOT
        assert (verdict.scope is Scope.CONNECTION) == lost_before_the_dot
    elif step is Step.MAIL:
        assert verdict.scope is Scope.CONNECTION
    elif step is Step.RCPT:
        assert verdict.scope is Scope.RECIPIENT
    else:
        assert verdict.scope is Scope.MESSAGE


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in {"4xx", "5xx"}])
def test_an_answer_that_is_lost_leaves_open_whether_the_message_was_taken(fault: str) -> None:
    impatience = Impatience()
    behaviour = impatience.with_(FAULTS[fault]) if fault in WAITING else FAULTS[fault]
    with ScriptedServer() as server:
        server.on(Step.DOT, taking(behaviour))
        session = Session(patient(server), impatience.clock, waiter=impatience)
        session.open()
        result = session.send(envelope())

        assert len(server.accepted) == 1
        assert not result.accepted
        assert result.stage is Stage.BODY
        assert result.verdict.uncertain
        assert result.verdict.outcome is Outcome.TEMPORARY
        assert all(one.verdict.uncertain for one in result.recipients)
        session.quit()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_quit_changes_nothing(fault: str) -> None:
    with ScriptedServer() as server:
        session = _session(server, Step.QUIT, fault)
        session.open()
        result = session.send(envelope())
        session.quit()
        assert result.accepted
        assert len(server.accepted) == 1
        assert not session.usable


@pytest.mark.parametrize("fault", ["4xx", "5xx"])
@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA, Step.DOT])
def test_after_a_refusal_the_session_carries_the_next_message(step: Step, fault: str) -> None:
    with ScriptedServer() as server:
        server.on(step, FAULTS[fault])
        session = opened(server)
        assert not session.send(envelope()).accepted
        assert session.usable
        assert session.send(envelope("c@example.test")).accepted
        assert [message.recipients for message in server.accepted] == [("c@example.test",)]
        session.quit()


class Drip:
    """A server's reply of which a byte comes whenever its client waits; and that client's clock.

    Each byte takes a second by this clock. The server goes on for as long as the client listens: who
    is first to hang up can only be the client, as long as there are bytes left.
    """

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._seconds = 0.0
        self._is_dripping = False
        self._waits = threading.Semaphore(0)
        self.sent = 0
        self.client_has_left = threading.Event()

    def drip(self, peer: Peer) -> None:
        self._is_dripping = True
        for byte in self._reply:
            peer.raw(bytes([byte]))
            self.sent += 1
            self._wait_for_client(peer)
        raise Gone

    def _wait_for_client(self, peer: Peer) -> None:
        while not self._waits.acquire(timeout=0.01):
            if select.select([peer.sock], [], [], 0)[0]:
                try:
                    peer.more()
                except Gone:
                    self.client_has_left.set()
                    raise

    # --- what its client goes by ----------------------------------------------------------------

    def clock(self) -> float:
        return self._seconds

    def until_ready(self, sock: socket.socket, seconds: float, *, to_write: bool) -> bool:
        if self._is_dripping and not to_write:
            self._seconds += 1
            self._waits.release()
        return BLOCKING.until_ready(sock, GENEROUS_SECONDS, to_write=to_write)

    def aside(self, act: Callable[[], T]) -> T:
        return act()


@pytest.mark.parametrize("reply", [b"250-" + b"x" * 396, b"250-x\r\n" * 57], ids=["line", "lines"])
@pytest.mark.parametrize("step", [Step.BANNER, Step.EHLO, Step.MAIL, Step.DATA, Step.DOT])
def test_a_reply_that_comes_byte_by_byte_is_given_up_after_the_time_for_a_whole_one(
    step: Step, reply: bytes
) -> None:
    drip = Drip(reply)
    with ScriptedServer() as server:
        server.on(step, drip.drip)
        timeouts = {"connect_timeout": 30.0, "reply_timeout": 30.0, "final_timeout": 30.0}
        session = Session(patient(server, **timeouts), drip.clock, waiter=drip)
        assert _stage_of_failure(session) in (OPENING.get(step) or {SENDING[step]})
        assert drip.sent <= 32, "each byte got the time of a whole reply"
        wait_until(drip.client_has_left.is_set, what="the client to hang up")
        assert server.accepted == []


def _stage_of_failure(session: Session) -> Stage:
    try:
        session.open()
    except SessionError as error:
        return error.stage
    result = session.send(envelope())
    assert not result.accepted
    return result.stage
