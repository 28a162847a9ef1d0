"""What a message is doing, in one sentence: what happened, what happens next, and when.

Owns the words. Pure: it is handed rows, the time and the surroundings, and must not know the
database, Flask, or how a page is laid out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo

from . import retry, wording
from .models import (
    Attempt,
    AttemptStatus,
    BreakerState,
    Connection,
    ConnectionHealth,
    Flight,
    Message,
    Status,
)
from .smtp import Stage


@dataclass(frozen=True)
class Surroundings:
    """What a message's fate depends on besides itself.

    :param max_attempts: tries of a message whose connection sets no number of its own.
    :param worker_alive: whether anybody delivers; ``None`` where that is not known.
    :param in_progress: the numbers of the messages of which an attempt has begun and not ended;
        ``None`` where that is not known.
    """

    now: datetime
    zone: tzinfo = timezone.utc
    connections: Mapping[int, Connection] | None = None
    max_attempts: int = 9
    worker_alive: bool | None = True
    in_progress: frozenset[int] | None = None

    def connection_of(self, message: Message) -> Connection | None:
        """Return the connection that is to carry a message."""
        if message.connection_id is None:
            return None
        return (self.connections or {}).get(message.connection_id)


@dataclass(frozen=True)
class Explanation:
    """A message's state in words.

    :param kind: the mark that stands for it: ``wait``, ``busy``, ``held``, ``ok``, ``warn``,
        ``fail`` or ``off``.
    :param state: one or two words: "Deferred".
    :param happened: a sentence: "Deferred: greylisted (451 4.7.1) at RCPT TO."
    :param follows: what comes next, or an empty text: "Try 3 of 9, next in 14 min, gives up …".
    :param next_at: when it is tried next, as far as that is known.
    """

    kind: str
    state: str
    happened: str
    follows: str = ""
    next_at: datetime | None = None

    @property
    def detail(self) -> str:
        """What happened, to stand beside the state: "Greylisted (451 4.7.1) at RCPT TO."."""
        rest = self.happened.removeprefix(f"{self.state}: ")
        return rest[:1].upper() + rest[1:] if rest.strip(".") != self.state else ""

    @property
    def sentence(self) -> str:
        """Both sentences, one after the other."""
        return f"{self.happened} {self.follows}".rstrip()


def explain(message: Message, around: Surroundings) -> Explanation:
    """Return what ``message`` is doing and what happens next."""
    return _EXPLAIN[message.status](message, around)


def next_attempt_at(message: Message, around: Surroundings) -> datetime | None:
    """Return when a waiting message is tried next: when it is due and its connection is ready."""
    if message.status is not Status.QUEUED:
        return None
    connection = around.connection_of(message)
    if connection is None or not connection.enabled:
        return None
    ready_at = connection.health.retry_at if _has_health(connection) else None
    return max(message.due_at, ready_at) if ready_at else message.due_at


def max_attempts(message: Message, around: Surroundings) -> int:
    """Return how often the message is tried at most."""
    connection = around.connection_of(message)
    own = connection.max_attempts if connection is not None else None
    return message.max_attempts or own or around.max_attempts


def explain_attempt(attempt: Attempt) -> str:
    """Return what became of an attempt, as a sentence."""
    if attempt.status is AttemptStatus.SUCCESS:
        said = (attempt.reply or "").strip()
        return f"Accepted by {attempt.host}" + (f": {said}" if said else ".")
    why = cause(attempt.reason, attempt.smtp_code, attempt.enhanced_code, attempt.stage)
    spent = "" if attempt.counted else " It spent none of the message's tries."
    return f"{why[:1].upper()}{why[1:]}.{spent}"


def explain_flight(flight: Flight) -> str:
    """Return what an attempt is doing that has begun, as a sentence."""
    return f"Being sent by {flight.worker}." if flight.worker else "Being sent."


def code_words(code: int | None, enhanced: str | None) -> str:
    """Return a reply's codes as a sentence has them: ``451 4.7.1``; empty without a code."""
    return " ".join(str(part) for part in (code, enhanced) if part)


def stage_words(stage: str | None) -> str:
    """Return where in the SMTP dialogue it was: ``at RCPT TO``; empty without a stage."""
    if not stage:
        return ""
    return _STAGES.get(stage) or f"at {stage}"


_STAGES = {
    **{stage.value: f"at {stage.label}" for stage in Stage},
    Stage.RESOLVE.value: "at the name lookup",
    Stage.CONNECT.value: "on connecting",
    Stage.GREETING.value: "at the greeting",
    Stage.BODY.value: "after the message",
}


def cause(
    reason: str | None,
    code: int | None = None,
    enhanced: str | None = None,
    stage: str | None = None,
) -> str:
    """Return what went wrong, to follow a colon: ``greylisted (451 4.7.1) at RCPT TO``."""
    text = wording.decapitalised(reason or "no reason was recorded")
    codes, at = code_words(code, enhanced), stage_words(stage)
    if codes and codes not in text:
        # A reason that ends with a word in brackets takes the codes into them.
        text = f"{text[:-1]}, {codes})" if text.endswith(")") else f"{text} ({codes})"
    # Many reasons name the stage themselves: a refused connection was so on connecting.
    label = at.partition(" ")[2].lower().removesuffix("ing")
    # One of several sentences says what to do; the stage would end up in the middle of that.
    told = not at or label in text.lower() or ". " in text
    return text if told else f"{text} {at}"


def _last_cause(message: Message) -> str:
    return cause(message.reason, message.last_code, message.last_enhanced, message.last_stage)


def _has_health(connection: Connection) -> bool:
    return isinstance(connection.health, ConnectionHealth)


# ---------------------------------------------------------------- waiting


def _queued(message: Message, around: Surroundings) -> Explanation:
    kept = obstacle(message, around)
    if kept is not None:
        return kept
    next_at = next_attempt_at(message, around) or message.due_at
    if message.last_attempt_at is not None and message.reason:
        return Explanation(
            "wait",
            "Deferred",
            f"Deferred: {_last_cause(message)}.",
            _tries(message, next_at, around),
            next_at,
        )
    if next_at > around.now:
        when = wording.relative(next_at, around.now)
        return Explanation(
            "wait",
            "Scheduled",
            "Scheduled.",
            f"Leaves {when}{_by_clock(next_at, around)}.",
            next_at,
        )
    if around.worker_alive is False:
        happened = f"Waiting: due {_since(next_at, around)}, but no worker has been seen."
        return Explanation(
            "warn", "Waiting", happened, "It leaves as soon as a worker runs.", next_at
        )
    return Explanation("wait", "Waiting", "Waiting for its turn.", "It is due now.", next_at)


def obstacle(message: Message, around: Surroundings) -> Explanation | None:
    """Return what keeps a waiting message whatever is known of itself, or ``None``."""
    connection = around.connection_of(message)
    return _no_way(message, connection, around) or _broken(message, connection, around)


def _no_way(
    message: Message, connection: Connection | None, around: Surroundings
) -> Explanation | None:
    """Explain why no connection carries the message at all."""
    if connection is not None and connection.enabled:
        return None
    if connection is not None:
        return Explanation(
            "warn",
            "Waiting",
            f"Waiting: its connection “{connection.caption}” is disabled.",
            "Enable it, or move the message to another connection.",
        )
    if any(one.enabled for one in (around.connections or {}).values()):
        return Explanation(
            "warn",
            "Waiting",
            f"Waiting: no enabled connection carries mail from {message.sender or 'nobody'}.",
            "Move it to a connection, or add a sender pattern to one.",
        )
    return Explanation(
        "warn",
        "Waiting",
        "Waiting: no connection is enabled that could carry it.",
        "It leaves once one is added or enabled.",
    )


def _broken(
    message: Message, connection: Connection | None, around: Surroundings
) -> Explanation | None:
    """Explain that the message waits for its connection, which is tried first."""
    if connection is None or not _has_health(connection):
        return None
    health = connection.health
    ready_at = health.retry_at
    failing = health.breaker is not BreakerState.CLOSED or health.failing_since is not None
    if not failing or ready_at is None or ready_at <= max(around.now, message.due_at):
        return None
    name = f"“{connection.caption}”"
    why = cause(health.last_reason, health.last_code, None, health.last_stage)
    again = wording.relative(ready_at, around.now)
    if health.breaker is BreakerState.PAUSED:
        return Explanation(
            "warn",
            "Paused",
            f"Waiting: {name} is paused: {why}.",
            f"Goes on {again}, without spending a try.",
            ready_at,
        )
    since = (
        f" since {wording.moment(health.failing_since, around.zone, around.now)}"
        if (health.failing_since)
        else ""
    )
    return Explanation(
        "warn",
        "Waiting",
        f"Waiting: {name} has been failing{since}: {why}.",
        f"Tried again {again}, without spending a try.",
        ready_at,
    )


def _tries(message: Message, next_at: datetime, around: Surroundings) -> str:
    """Return which try is next, when, and when the last one is."""
    most = max_attempts(message, around)
    number = min(message.attempts_count + 1, most)
    due = next_at <= around.now
    if due and around.worker_alive is False:
        return f"Try {number} of {most} is due, but no worker has been seen."
    when = "due now" if due else f"next {wording.relative(next_at, around.now)}"
    if number >= most:
        last = "is due now" if due else wording.relative(next_at, around.now)
        return f"Try {number} of {most}, the last one, {last}."
    ends = retry.gives_up_at(max(next_at, around.now), message.attempts_count, most)
    if message.expires_at is not None:
        ends = min(ends, message.expires_at)
    until = wording.moment(ends, around.zone, around.now)
    at = "" if until[0].isalpha() else "at " if ":" in until[:3] else "on "
    return f"Try {number} of {most}, {when}, gives up {at}{until}."


def _since(moment: datetime, around: Surroundings) -> str:
    away = around.now - moment
    return "now" if away.total_seconds() < 1 else f"for {wording.span(away)}"


def _by_clock(moment: datetime, around: Surroundings) -> str:
    """Return the time itself where it is too far away to be counted down."""
    if (moment - around.now).total_seconds() < 2 * wording.HOUR:
        return ""
    return f", {wording.moment(moment, around.zone, around.now)}"


# ---------------------------------------------------------------- the other states


def _sending(message: Message, around: Surroundings) -> Explanation:
    most = max_attempts(message, around)
    number = min(message.attempts_count + 1, most)
    if message.lease_until is not None and message.lease_until < around.now:
        return Explanation(
            "busy",
            "Sending",
            "Being sent, but the worker that has it has gone silent.",
            "The next worker that runs takes it over.",
        )
    if around.in_progress is not None and message.id not in around.in_progress:
        return Explanation(
            "busy", "Sending", "A worker has it; its turn comes next.", f"Try {number} of {most}."
        )
    return Explanation("busy", "Sending", f"Being sent now: try {number} of {most}.")


def _held(message: Message, around: Surroundings) -> Explanation:
    reason = (message.reason or "Held by a person.").strip()
    happened = reason if reason.startswith("Held") else f"Held: {wording.decapitalised(reason)}."
    return Explanation("held", "Held", happened, "It waits until somebody releases it.")


def _sent(message: Message, around: Surroundings) -> Explanation:
    whom = "" if message.recipient_count == 1 else f" for all {message.recipient_count} recipients"
    tries = message.attempts_count
    after = f"After {wording.counted(tries, 'try', 'tries')}." if tries > 1 else ""
    return Explanation("ok", "Sent", f"Accepted by the server{whom}.", after)


def _partial(message: Message, around: Surroundings) -> Explanation:
    return Explanation(
        "warn",
        "Partly sent",
        f"Accepted for some recipients, given up for the others: {_last_cause(message)}.",
        "A retry offers it only to those who have not got it.",
    )


def _failed(message: Message, around: Surroundings) -> Explanation:
    tries = message.attempts_count
    spent = f"after {wording.counted(tries, 'try', 'tries')}" if tries else "before the first try"
    return Explanation(
        "fail",
        "Failed",
        f"Given up {spent}: {_last_cause(message)}.",
        "Nothing more happens unless somebody retries it.",
    )


def _deleted(message: Message, around: Surroundings) -> Explanation:
    return Explanation("off", "Deleted", message.reason or "Deleted.", "It is never sent.")


_EXPLAIN = {
    Status.QUEUED: _queued,
    Status.SENDING: _sending,
    Status.HELD: _held,
    Status.SENT: _sent,
    Status.PARTIAL: _partial,
    Status.FAILED: _failed,
    Status.DELETED: _deleted,
}
