"""A session with a scripted server: what is written, what is made of the replies, what is kept."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from flask_smtp_admin.smtp import (
    Failure,
    Outcome,
    Scope,
    Session,
    SessionError,
    Stage,
    Transaction,
)
from flask_smtp_admin.smtp.auth import MIN_SECRET, secrets_of
from flask_smtp_admin.smtp.reply import Reply
from flask_smtp_admin.smtp.sending import Sending
from tests.servers.scripted import (
    EXTENSIONS,
    PASSWORD,
    Behaviour,
    Peer,
    ScriptedServer,
    Step,
    identity,
    leaving,
    reset,
    say,
    self_signed,
    write,
)
from tests.smtp.endpoints import ALICE, CONTENT, begun, endpoint, envelope, opened, patient
from tests.waiting import wait_until


def failure_of(session: Session) -> Failure | None:
    with pytest.raises(SessionError) as caught:
        session.open()
    return caught.value.failure


# ---------------------------------------------------------------- transactions


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelined", "plain"])
def test_a_message_arrives_as_it_was(extensions: tuple[str, ...]) -> None:
    content = b".first\r\n..\r\n.\r\nend\r\n" + b".x\r\n" * 40_000
    with ScriptedServer(extensions=extensions) as server:
        session = opened(server)
        result = session.send(envelope("b@example.test", "c@example.test", content=content))
        assert result.accepted
        assert result.usable
        assert result.stage is Stage.BODY
        assert result.reply is not None
        assert result.reply.enhanced == "2.0.0"
        assert [r.accepted for r in result.recipients] == [True, True]
        (message,) = server.accepted
        assert message.content == content
        assert message.recipients == ("b@example.test", "c@example.test")
        session.quit()


def test_bare_line_ends_never_reach_the_server() -> None:
    smuggled = b"a\r\n\n.\nMAIL FROM:<evil@example.test>\r.\r\r\nb"
    with ScriptedServer() as server:
        session = opened(server)
        assert session.send(envelope(content=smuggled)).accepted
        session.quit()
        content = server.accepted[0].content
        assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
        assert not any(command.startswith("MAIL FROM:<evil") for command in server.commands)


def test_each_recipient_has_an_outcome_of_its_own() -> None:
    with ScriptedServer() as server:
        server.on(Step.RCPT, say("550 5.1.1 nobody"), say("451 4.7.1 greylisted"))
        session = opened(server)
        result = session.send(envelope("x@example.test", "y@example.test", "z@example.test"))
        assert result.accepted
        assert [(r.address[0], r.verdict.outcome, r.verdict.scope) for r in result.recipients] == [
            ("x", Outcome.PERMANENT, Scope.RECIPIENT),
            ("y", Outcome.TEMPORARY, Scope.RECIPIENT),
            ("z", Outcome.ACCEPTED, Scope.MESSAGE),
        ]
        assert server.accepted[0].recipients == ("z@example.test",)


@pytest.mark.parametrize("pipelining", [True, False])
def test_with_no_recipient_left_nothing_is_delivered(pipelining: bool) -> None:
    with ScriptedServer() as server:
        server.always(Step.RCPT, say("550 5.1.1 nobody"))
        session = Session(patient(server), pipelining=pipelining)
        begun.append(session)
        session.open()
        result = session.send(envelope("x@example.test", "y@example.test"))
        assert not result.accepted
        assert result.usable
        assert result.verdict.scope is Scope.RECIPIENT
        assert ("DATA" in server.commands) == pipelining
        session.quit()
        assert server.accepted == []


def test_354_without_a_recipient_is_answered_with_the_lone_dot() -> None:
    with ScriptedServer() as server:
        server.on(Step.RCPT, say("550 5.1.1 nobody")).on(Step.DATA, say("354 go on then"))
        session = opened(server)
        result = session.send(envelope())
        assert not result.accepted
        assert result.usable
        assert session.send(envelope("c@example.test")).accepted
        assert [m.recipients for m in server.accepted] == [("c@example.test",)]
        assert server.accepted[0].content == CONTENT


def test_a_refused_mail_decides_for_all_recipients() -> None:
    with ScriptedServer() as server:
        server.on(Step.MAIL, say("550 5.7.1 not your sender"))
        session = opened(server)
        result = session.send(envelope("x@example.test", "y@example.test"))
        assert result.stage is Stage.MAIL
        assert {r.verdict.scope for r in result.recipients} == {Scope.MESSAGE}
        assert result.usable
        assert session.send(envelope()).accepted


def test_many_recipients_go_out_in_groups() -> None:
    addresses = tuple(f"r{number}@example.test" for number in range(350))
    with ScriptedServer() as server:
        session = opened(server)
        result = session.send(envelope(*addresses))
        assert result.accepted
        assert server.accepted[0].recipients == addresses
        assert len(result.recipients) == 350


def test_too_many_recipients_go_to_the_next_transaction() -> None:
    with ScriptedServer() as server:
        server.on(Step.RCPT, say("250 ok"), say("452 4.5.3 too many recipients"))
        session = opened(server)
        result = session.send(envelope("x@example.test", "y@example.test"))
        assert result.recipients[1].verdict.next_transaction
        assert result.recipients[1].verdict.outcome is Outcome.TEMPORARY


def test_421_on_a_reused_session_costs_the_message_nothing() -> None:
    with ScriptedServer() as server:
        session = opened(server)
        assert session.send(envelope()).accepted
        server.on(Step.MAIL, leaving)
        result = session.send(envelope("c@example.test"))
        assert result.verdict.scope is Scope.CONNECTION
        assert result.verdict.reconnect
        assert not result.usable
        assert len(server.accepted) == 1
        assert session.transactions == 2


@pytest.mark.parametrize("words", ["421 4.4.2 idle too long", "250 2.0.0 taken"])
def test_words_nobody_asked_for_are_never_an_answer(words: str) -> None:
    """An extra reply would be taken for the next command's: every answer would be off by one."""

    def twice(peer: object) -> None:
        write(f"250 2.1.0 ok\r\n{words}\r\n".encode())(peer)  # type: ignore[arg-type]

    with ScriptedServer(extensions=()) as server:
        server.on(Step.DOT, twice)
        session = opened(server)
        # Whether the extra words are already here when the reply is read is a matter of luck.
        if session.send(envelope()).usable:
            result = session.send(envelope("c@example.test"))
            assert not result.accepted
            assert not result.usable
            assert result.verdict.scope is Scope.CONNECTION
        assert server.accepted == []


@pytest.mark.parametrize("answer", [True, False])
def test_the_callers_last_word_before_the_dot(answer: bool) -> None:
    with ScriptedServer() as server:
        session = opened(server)
        asked: list[bool] = []

        def before() -> bool:
            asked.append(True)
            return answer

        result = session.send(envelope(), before_final_dot=before)
        assert asked == [True]
        assert result.accepted == answer
        assert result.abandoned != answer
        assert result.usable == answer
        assert not result.verdict.uncertain
        session.quit()
        assert len(server.accepted) == answer


def test_an_error_of_the_caller_before_the_dot_sends_nothing() -> None:
    with ScriptedServer() as server:
        session = opened(server)

        def broken() -> bool:
            raise LookupError("the database is gone")

        with pytest.raises(LookupError):
            session.send(envelope(), before_final_dot=broken)
        assert not session.usable
    assert server.accepted == []


# ---------------------------------------------------------------- the next message, offered early


def test_the_next_message_is_offered_with_the_end_of_the_one_before() -> None:
    first, second = envelope("b@example.test"), envelope("c@example.test", content=b"2\r\n")
    with ScriptedServer() as server:
        session = opened(server)
        assert session.send(first, then=second).accepted
        wait_until(lambda: server.commands.count("DATA") == 2)
        assert [message.recipients for message in server.accepted] == [("b@example.test",)]

        mark = session.mark()
        assert session.send(second).accepted
        assert not session.has_offered
        assert [message.content for message in server.accepted] == [CONTENT, b"2\r\n"]
        said = [line.text for line in session.dialogue_since(mark)]
        assert said[:3] == [
            "MAIL FROM:<a@example.test> SIZE=3",
            "RCPT TO:<c@example.test>",
            "DATA",
        ]
        session.quit()


def test_a_server_without_pipelining_hears_one_command_after_the_other() -> None:
    with ScriptedServer(extensions=()) as server:
        session = opened(server)
        assert session.send(envelope(), then=envelope("c@example.test")).accepted
        assert not session.has_offered
        assert server.commands.count("DATA") == 1
        session.quit()


def test_a_message_that_was_offered_and_does_not_follow_leaves_nothing_behind() -> None:
    with ScriptedServer() as server:
        session = opened(server)
        assert session.send(envelope(), then=envelope("c@example.test")).accepted
        session.quit()
        assert not session.usable
        assert "QUIT" not in server.commands, "it would have become the content of the message"
        assert len(server.accepted) == 1


def test_another_message_than_the_one_that_was_offered_is_a_mistake() -> None:
    with ScriptedServer() as server:
        session = opened(server)
        assert session.send(envelope(), then=envelope("c@example.test")).accepted
        with pytest.raises(RuntimeError, match="Another message"):
            session.send(envelope("d@example.test"))
        assert not session.usable
        assert len(server.accepted) == 1


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
def test_a_message_that_is_refused_when_offered_early_is_told_in_its_turn(step: Step) -> None:
    second = envelope("c@example.test")
    with ScriptedServer() as server:
        session = opened(server)
        server.on(step, None, say("550 5.7.1 not you"))
        assert session.send(envelope(), then=second).accepted
        refused = session.send(second, then=envelope("d@example.test"))
        assert not refused.accepted
        assert refused.reply is not None
        assert refused.reply.code == 550
        assert len(server.accepted) == 1
        session.quit()


def test_a_server_that_leaves_after_a_message_has_not_seen_the_next_one() -> None:
    with ScriptedServer() as server:
        session = opened(server)
        server.on(Step.DOT, leaving)
        result = session.send(envelope(), then=envelope("c@example.test"))
        assert not result.accepted
        assert not session.has_offered
        assert not session.usable


class UpToTheDot:
    """A socket that takes what follows a final dot by itself, and only when *may_go_on*."""

    def __init__(self, sock: Any, may_go_on: Callable[[], object]) -> None:
        self._sock = sock
        self._may_go_on = may_go_on
        self._is_past = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: memoryview) -> int:
        if self._is_past:
            self._may_go_on()
        end = bytes(data).find(b"\r\n.\r\n")
        self._is_past = end >= 0
        return int(self._sock.send(data[: end + 5] if self._is_past else data))


def cut_off_behind_the_dot(server: ScriptedServer, *replies: str) -> Transaction:
    """Send a message, whose server says *replies* to its dot and goes before it is offered the next."""
    peers: list[Peer] = []

    def answer_and_go(peer: Peer) -> None:
        for reply in replies:
            peer.say(reply)
        peers.append(peer)
        reset(peer)

    def is_gone() -> bool:
        return bool(peers) and peers[0].sock.fileno() < 0

    server.on(Step.DOT, answer_and_go)
    session = opened(server)
    assert session._wire is not None
    narrow: Any = UpToTheDot(session._wire._sock, lambda: wait_until(is_gone))
    session._wire._sock = narrow
    result = session.send(envelope(), then=envelope("c@example.test"))
    assert not session.has_offered
    assert not result.usable
    return result


def test_a_message_may_have_been_taken_when_the_link_breaks_behind_its_dot() -> None:
    with ScriptedServer() as server:
        result = cut_off_behind_the_dot(server)
        assert not result.accepted
        assert result.verdict.uncertain


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [("250 2.0.0 taken", Outcome.ACCEPTED), ("554 5.7.1 never", Outcome.PERMANENT)],
)
def test_a_reply_to_the_dot_counts_though_the_link_broke_behind_it(
    reply: str, outcome: Outcome
) -> None:
    with ScriptedServer() as server:
        result = cut_off_behind_the_dot(server, reply)
        assert result.verdict.outcome is outcome
        assert result.stage is Stage.BODY
        assert str(result.reply) == reply


# ---------------------------------------------------------------- what we stumble over


def test_a_size_of_thousands_of_digits_is_no_size() -> None:
    with ScriptedServer(extensions=("PIPELINING", "SIZE " + "9" * 5000)) as server:
        session = opened(server)
        assert session.send(envelope()).accepted
        session.quit()


def test_an_xoauth2_challenge_beyond_ascii_is_a_refusal_like_any_other() -> None:
    with ScriptedServer(extensions=("AUTH XOAUTH2",)) as server:
        server.on(Step.AUTH, say("334 Zo\u00eb"))
        session = Session(patient(server, **ALICE, auth_mechanism="XOAUTH2", allow_plain_auth=True))
        with pytest.raises(SessionError):
            session.open()
        assert not session.usable


def test_an_error_of_our_own_while_opening_is_about_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedServer() as server:
        monkeypatch.setattr(Session, "_own_name", lambda self: 1 / 0)
        session = Session(patient(server))
        with pytest.raises(SessionError) as caught:
            session.open()
        assert caught.value.failure is Failure.STUMBLED
        assert caught.value.verdict.scope is Scope.CONNECTION


def test_an_error_of_our_own_while_sending_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(self: object, reply: object) -> object:
        raise LookupError("a bug")

    with ScriptedServer() as server:
        session = opened(server)
        monkeypatch.setattr("flask_smtp_admin.smtp.sending.Sending._take_data", stumble)
        result = session.send(envelope())
        assert (result.accepted, result.usable) == (False, False)
        assert result.verdict.scope is Scope.CONNECTION
        assert result.verdict.outcome is Outcome.TEMPORARY


@pytest.mark.parametrize("code", [250, 550])
def test_the_words_to_thousands_of_recipients_are_kept_in_a_few(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    shortened = Sending._shortened

    def spy(sending: Sending, reply: Reply) -> Reply:
        found = shortened(sending, reply)
        kept.append("".join(found.lines))
        return found

    monkeypatch.setattr(Sending, "_shortened", spy)
    words = "\n".join([f"{code}-{'x' * 1000}"] * 50 + [f"{code} so it is"])
    with ScriptedServer() as server:
        server.on(Step.RCPT, None).always(Step.RCPT, say(words))
        session = opened(server)
        result = session.send(envelope(*(f"r{number}@example.test" for number in range(400))))
        session.quit()
    assert len(result.recipients) == len(kept) == 400
    assert 1_000_000 < sum(map(len, kept)) < 1_100_000
    assert len(kept[-1]) < 300
    refusals = [one.reply for one in result.recipients if one.reply and not one.accepted]
    assert sum(len(line) for reply in refusals for line in reply.lines) < 1_100_000


@pytest.mark.parametrize(
    ("extensions", "changes", "words"),
    [
        (("SIZE 20",), {}, "5.3.4"),
        ((), {"sender": "jörg@example.test"}, "5.6.7"),
        ((), {"smtputf8": True}, "5.6.7"),
        (EXTENSIONS, {"sender": "a@b>\r\nRCPT TO:<x@y"}, "command"),
        (EXTENSIONS, {"recipients": ()}, "command"),
    ],
)
def test_what_cannot_be_sent_is_found_without_asking(
    extensions: tuple[str, ...], changes: dict[str, object], words: str
) -> None:
    with ScriptedServer(extensions=extensions) as server:
        session = opened(server)
        message = dataclasses.replace(envelope(), **changes)  # type: ignore[arg-type]
        result = session.send(message)
        assert words in result.verdict.summary
        assert result.verdict.scope is Scope.MESSAGE
        assert result.verdict.outcome is Outcome.PERMANENT
        assert result.usable
        assert server.commands == ["EHLO client.example.test"]


def test_the_parameters_of_mail_are_what_the_server_offers() -> None:
    message = dataclasses.replace(envelope(sender="jörg@example.test"), eight_bit=True)
    with ScriptedServer() as server:
        opened(server).send(message)
        assert server.commands[1] == (
            f"MAIL FROM:<jörg@example.test> SIZE={len(CONTENT)} BODY=8BITMIME SMTPUTF8"
        )


def test_a_refusal_before_the_dot_is_the_reason() -> None:
    large = b"x" * 70 + b"\r\n"

    def too_big(peer: object) -> None:
        say("552 5.3.4 that is enough")(peer)  # type: ignore[arg-type]
        raise OSError

    with ScriptedServer(extensions=()) as server:
        server.on(Step.BODY, too_big)
        result = opened(server).send(envelope(content=large * 200_000))
        assert result.reply is not None
        assert result.reply.code == 552
        assert result.verdict.scope is Scope.MESSAGE
        assert result.verdict.outcome is Outcome.PERMANENT
        assert not result.usable


def test_the_deadline_ends_the_usefulness_of_a_session() -> None:
    now = [0.0]
    with ScriptedServer() as server:
        session = Session(patient(server, session_deadline=100.0), lambda: now[0])
        session.open()
        usable = []
        for now[0] in (0.0, 60.0, 80.0, 200.0):
            usable.append(session.usable)
        assert usable == [True, True, False, False]
        session.abort()


def late(now: list[float], seconds: float) -> Behaviour:
    """A yes that comes after so many seconds of the client's clock."""

    def answer(peer: Peer) -> None:
        now[0] += seconds
        peer.say("250 2.0.0 ok")

    return answer


def test_the_deadline_ends_a_message_that_takes_too_long() -> None:
    now = [0.0]
    with ScriptedServer() as server:
        server.on(Step.MAIL, late(now, 150.0))
        session = Session(patient(server, session_deadline=100.0), lambda: now[0])
        session.open()
        result = session.send(envelope())
        assert not result.accepted
        assert not result.usable
        assert not server.accepted


def test_the_deadline_does_not_cut_off_the_reply_of_a_server_that_has_the_message() -> None:
    now = [0.0]
    with ScriptedServer() as server:
        server.on(Step.DOT, late(now, 150.0))
        endpoint = patient(server, session_deadline=100.0, final_timeout=200.0)
        session = Session(endpoint, lambda: now[0])
        session.open()
        assert session.send(envelope()).accepted
        assert not session.usable
        session.abort()


def test_a_reply_of_more_than_64_kib_is_given_up() -> None:
    lines = b"250-" + b"x" * 400 + b"\r\n"
    with ScriptedServer() as server:
        server.on(Step.MAIL, write(lines * 200 + b"250 2.1.0 ok\r\n"))
        result = opened(server).send(envelope())
        assert not result.accepted
        assert not result.usable
        assert not server.accepted


def test_an_unopened_session_cannot_send() -> None:
    with ScriptedServer() as server, pytest.raises(RuntimeError):
        Session(patient(server)).send(envelope())


# ---------------------------------------------------------------- TLS


def test_starttls_forgets_what_was_said_in_clear() -> None:
    tls = identity()
    with ScriptedServer(tls=tls) as server:
        session = opened(server, encryption="starttls", ca_certificate=tls.ca_pem, **ALICE)
        assert session.tls is not None
        assert session.tls.version in {"TLSv1.2", "TLSv1.3"}
        assert "localhost" in session.tls.names
        assert [c for c in server.commands if c.startswith("EHLO")] == [
            "EHLO client.example.test"
        ] * 2
        assert "STARTTLS" not in session.extensions
        assert session.send(envelope()).accepted
        session.quit()


def test_implicit_tls_and_a_pinned_certificate() -> None:
    tls = identity()
    with ScriptedServer(tls=tls, implicit=True) as server:
        session = opened(server, encryption="implicit", ca_certificate=tls.certificate_pem)
        assert session.send(envelope()).accepted


@pytest.mark.parametrize(
    ("tls", "trusted", "failure"),
    [
        (identity(expired=True), True, Failure.CERTIFICATE_EXPIRED),
        (identity(not_yet=True), True, Failure.CERTIFICATE_NOT_YET_VALID),
        (identity("mail.example.test"), True, Failure.CERTIFICATE_WRONG_NAME),
        (identity(), False, Failure.CERTIFICATE_UNKNOWN_CA),
        (self_signed(), False, Failure.CERTIFICATE_SELF_SIGNED),
        (self_signed(), True, None),
    ],
    ids=["expired", "not yet", "wrong name", "unknown CA", "self-signed", "self-signed, trusted"],
)
@pytest.mark.parametrize("encryption", ["starttls", "implicit"])
def test_certificates(tls: object, trusted: bool, failure: Failure | None, encryption: str) -> None:
    with ScriptedServer(tls=tls, implicit=encryption == "implicit") as server:  # type: ignore[arg-type]
        pem = tls.ca_pem if trusted else None  # type: ignore[attr-defined]
        session = Session(patient(server, encryption=encryption, ca_certificate=pem, **ALICE))
        if failure is None:
            session.open()
            session.quit()
        else:
            assert failure_of(session) is failure
            assert not any(command.startswith("AUTH") for command in server.commands)


def answer_in_clear(peer: Peer) -> None:
    """Only once the client has begun: what comes earlier was injected before the handshake."""
    peer.more()
    peer.raw(b"250 not tls at all, this is\r\n")


@pytest.mark.parametrize(
    ("step", "behaviour", "failure"),
    [
        (Step.EHLO, say("250-x\n250 SIZE 1"), Failure.STARTTLS_NOT_OFFERED),
        (Step.STARTTLS, write(b"220 go\r\n250 injected\r\n"), Failure.TLS_INJECTED),
        (Step.HANDSHAKE, answer_in_clear, Failure.TLS_FAILED),
        (Step.BANNER, write(b"\x15\x03\x01\x00\x02\x02\x46\r\n"), Failure.TLS_EXPECTED),
    ],
)
def test_starttls_stripped_injected_or_spoilt(
    step: Step, behaviour: Behaviour, failure: Failure
) -> None:
    tls = identity()
    with ScriptedServer(tls=tls) as server:
        server.on(step, behaviour)
        session = Session(
            endpoint(server, encryption="starttls", ca_certificate=tls.ca_pem, **ALICE)
        )
        assert failure_of(session) is failure
        assert not any(command.startswith("AUTH") for command in server.commands)


def test_implicit_tls_with_a_server_that_greets_in_clear() -> None:
    with ScriptedServer() as server:
        assert failure_of(Session(patient(server, encryption="implicit"))) is Failure.TLS_NOT_SPOKEN


def test_an_unreadable_ca_says_so() -> None:
    with ScriptedServer(tls=identity(), implicit=True) as server:
        session = Session(patient(server, encryption="implicit", ca_certificate="not PEM"))
        assert failure_of(session) is Failure.CA_UNREADABLE


# ---------------------------------------------------------------- AUTH


@pytest.mark.parametrize("mechanism", ["auto", "PLAIN", "LOGIN", "CRAM-MD5"])
def test_each_mechanism_logs_in_and_leaves_no_secret(mechanism: str) -> None:
    tls = identity()
    with ScriptedServer(tls=tls) as server:
        session = opened(
            server,
            encryption="starttls",
            ca_certificate=tls.ca_pem,
            auth_mechanism=mechanism,
            **ALICE,
        )
        assert session.mechanism == ("PLAIN" if mechanism == "auto" else mechanism)
        _assert_no_secret(session)


def _assert_no_secret(session: Session) -> None:
    told = "\n".join(line.text for line in session.dialogue_since())
    forms = (PASSWORD, "\0alice\0" + PASSWORD, "alice", f"user=alice\1auth=Bearer {PASSWORD}\1\1")
    assert PASSWORD not in told
    for form in forms:
        assert base64.b64encode(form.encode()).decode() not in told
    assert PASSWORD not in repr(session.endpoint)


def test_a_password_that_the_server_repeats_is_blanked() -> None:
    with ScriptedServer() as server:
        server.on(Step.AUTH, say(f"535 5.7.8 '{PASSWORD}' is not the password"))
        session = Session(patient(server, auth_mechanism="PLAIN", allow_plain_auth=True, **ALICE))
        with pytest.raises(SessionError) as caught:
            session.open()
        assert PASSWORD not in str(caught.value)
        assert caught.value.verdict.opens_breaker
        _assert_no_secret(session)


def echoes() -> list[str]:
    """A password as a server may repeat it: bare, within base64 at any place, as it was sent."""
    inner = [base64.b64encode(b"x" * n + PASSWORD.encode() + b"yz").decode() for n in range(3)]
    whole = [PASSWORD, "\0alice\0" + PASSWORD]
    return [PASSWORD, *inner, *(base64.b64encode(form.encode()).decode() for form in whole)]


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA, Step.DOT])
@pytest.mark.parametrize("echo", echoes())
def test_a_password_is_blanked_in_every_reply_of_the_session(step: Step, echo: str) -> None:
    with ScriptedServer() as server:
        server.on(step, say(f"550 5.7.1 no, {echo} is yours"))
        session = opened(server, auth_mechanism="PLAIN", allow_plain_auth=True, **ALICE)
        result = session.send(envelope())
        assert not result.accepted
        told = repr(result) + repr(session.dialogue_since())
        assert "********" in told
        assert echo not in told
        _assert_no_secret(session)


def test_a_token_within_an_xoauth2_error_is_blanked() -> None:
    error = base64.b64encode(f'{{"status":"401","token":"{PASSWORD}"}}'.encode()).decode()
    with ScriptedServer(extensions=("AUTH XOAUTH2",)) as server:
        server.on(Step.AUTH, say(f"334 {error}\n535 5.7.8 no"))
        session = Session(patient(server, auth_mechanism="XOAUTH2", allow_plain_auth=True, **ALICE))
        with pytest.raises(SessionError):
            session.open()
        told = [line.text for line in session.dialogue_since()]
        assert any('"token":"********"' in text for text in told)
        assert not any(error in text for text in told)
        _assert_no_secret(session)


def test_a_password_cut_off_by_the_bound_of_a_line_is_blanked_before() -> None:
    with ScriptedServer() as server:
        server.on(Step.MAIL, say("550 " + "x" * 993 + PASSWORD))
        session = opened(server, **ALICE)
        session.send(envelope())
        assert not any(PASSWORD[:3] in line.text for line in session.dialogue_since())


@pytest.mark.parametrize(
    ("password", "hidden"),
    [("abc", False), ("a", False), ("abcd", True), ("PLAIN", False), ("", False)],
)
def test_what_is_too_short_to_blank_is_blanked_in_its_encoded_forms(
    password: str, hidden: bool
) -> None:
    secrets = secrets_of("alice", password)
    assert (password in secrets) is hidden
    assert all(len(secret) >= MIN_SECRET for secret in secrets)
    if password:
        assert base64.b64encode(f"\0alice\0{password}".encode()).decode() in secrets


def test_one_login_is_tried_and_no_more() -> None:
    with ScriptedServer() as server:
        server.always(Step.AUTH, say("535 5.7.8 no"))
        with pytest.raises(SessionError):
            opened(server, **ALICE)
        assert sum(command.startswith("AUTH") for command in server.commands) == 1


@pytest.mark.parametrize(
    ("offered", "changes", "expected"),
    [
        ("AUTH PLAIN LOGIN CRAM-MD5", {}, "CRAM-MD5"),
        ("AUTH PLAIN LOGIN", {"allow_plain_auth": True}, "PLAIN"),
        ("AUTH=LOGIN", {"allow_plain_auth": True}, "LOGIN"),
        ("AUTH PLAIN LOGIN", {}, Failure.AUTH_IN_CLEAR),
        ("AUTH PLAIN CRAM-MD5", {"auth_mechanism": "PLAIN"}, Failure.AUTH_IN_CLEAR),
        ("AUTH GSSAPI", {}, Failure.AUTH_NO_COMMON_MECHANISM),
        ("AUTH PLAIN", {"auth_mechanism": "CRAM-MD5"}, Failure.AUTH_NO_COMMON_MECHANISM),
        ("8BITMIME", {}, Failure.AUTH_NOT_OFFERED),
    ],
)
def test_without_tls_the_password_is_not_told(
    offered: str, changes: dict[str, object], expected: str | Failure
) -> None:
    with ScriptedServer(extensions=(offered,)) as server:
        session = Session(patient(server, **ALICE, **changes))
        if isinstance(expected, Failure):
            assert failure_of(session) is expected
            assert len(server.commands) == 1
        else:
            session.open()
            assert session.mechanism == expected
            session.quit()


def test_xoauth2_answers_the_error_with_an_empty_line_and_reads_the_refusal() -> None:
    with ScriptedServer(extensions=("AUTH XOAUTH2",)) as server:
        session = Session(patient(server, auth_mechanism="XOAUTH2", allow_plain_auth=True, **ALICE))
        with pytest.raises(SessionError) as caught:
            session.open()
        assert caught.value.reply is not None
        assert caught.value.reply.code == 535
        assert server.commands[-1] == ""
        assert any('"status":"401"' in line.text for line in session.dialogue_since())
        _assert_no_secret(session)


def test_challenges_without_end_are_cut_short() -> None:
    with ScriptedServer() as server:
        server.on(Step.AUTH, say("334 YQ==\n334 YQ==\n334 YQ==\n334 YQ=="))
        session = Session(patient(server, auth_mechanism="CRAM-MD5", **ALICE))
        assert failure_of(session) is Failure.NONSENSE


# ---------------------------------------------------------------- names, bounds, dialogue


def test_an_old_server_gets_helo() -> None:
    with ScriptedServer() as server:
        server.on(Step.EHLO, say("502 5.5.1 what?"))
        session = opened(server)
        assert server.commands == ["EHLO client.example.test", "HELO client.example.test"]
        assert session.extensions == {}
        assert session.send(envelope()).accepted


def test_without_a_name_the_address_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "machine")
    with ScriptedServer() as server:
        opened(server, local_hostname=None)
        assert server.commands == ["EHLO [127.0.0.1]"]


def test_long_lines_and_bare_newlines_are_tolerated_within_bounds() -> None:
    with ScriptedServer() as server:
        server.on(Step.BANNER, write(b"220-" + b"x" * 7000 + b"\n220 ok\n"))
        session = opened(server)
        assert session.greeting is not None
        assert len(session.greeting.lines[0]) == 7000
        assert max(len(line.text) for line in session.dialogue_since()) <= 1000


def test_the_dialogue_of_an_attempt_is_its_own_and_has_no_message_bytes() -> None:
    with ScriptedServer() as server:
        session = opened(server)
        session.send(envelope())
        result = session.send(envelope("c@example.test"))
        texts = [line.text for line in session.dialogue_since(result.mark)]
        assert texts[0].startswith("MAIL FROM:<a@example.test>")
        assert "RCPT TO:<c@example.test>" in texts
        assert texts[-1] == "250 2.0.0 taken"
        assert not any("hello" in text for text in texts)
        assert any(f"{len(CONTENT)} bytes of message" in text for text in texts)


def test_the_dialogue_is_bounded() -> None:
    addresses = tuple(f"r{number}@example.test" for number in range(1000))
    with ScriptedServer() as server:
        session = opened(server)
        result = session.send(envelope(*addresses))
        lines = session.dialogue_since(result.mark)
        assert len(lines) <= 401
        assert "earlier lines left out" in lines[0].text
        assert lines[-1].text == "250 2.0.0 taken"


def test_rehearsing_goes_as_far_as_data_and_sends_nothing() -> None:
    with ScriptedServer() as server:
        session = opened(server)
        result = session.rehearse(envelope())
        assert result.accepted
        assert result.stage is Stage.DATA
        assert server.commands[-1] == "DATA"
        assert not session.usable
        session.quit()
    assert server.accepted == []
    assert server.commands[-1] == "DATA", "any word would have become a message"


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
def test_a_refused_rehearsal_can_be_followed_by_a_message(step: Step) -> None:
    with ScriptedServer() as server:
        server.on(step, say("550 5.7.1 not you"))
        session = opened(server)
        result = session.rehearse(envelope())
        assert (result.accepted, result.verdict.stage.value) == (False, step.value)
        assert server.commands[-1] == "RSET"
        assert session.send(envelope()).accepted
        session.reset()
        assert session.usable
