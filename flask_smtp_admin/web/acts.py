"""What a person can do to messages, whether to one, to selected ones, or to all that match.

Owns the words of the acts and of what came of them. Must not know how a page is laid out; the
writes themselves are in :mod:`flask_smtp_admin.outbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin import outbox
from flask_smtp_admin.core import Core
from flask_smtp_admin.models import Connection, Status
from flask_smtp_admin.wording import Count, agreeing, counted, number

Test = sa.ColumnElement[bool]


@dataclass(frozen=True)
class Act:
    """Something that a person does to messages.

    :param label: on its button.
    :param done: what is said of one message, and of several, that were changed.
    :param cannot: what is said when none of them was in a fitting state.
    :param states: the states that it fits.
    """

    name: str
    label: str
    done: tuple[str, str]
    cannot: str
    states: frozenset[Status]
    run: Callable[..., int]

    def fits(self, status: Status) -> bool:
        """Whether a message in this state can be acted on."""
        return status in self.states


ACTS = {
    act.name: act
    for act in (
        Act(
            "retry",
            "Retry now",
            ("was set to be tried at once", "were set to be tried at once"),
            "Only waiting, held and failed messages whose content is still there can be retried.",
            frozenset({Status.QUEUED, Status.HELD, Status.FAILED, Status.PARTIAL}),
            outbox.retry,
        ),
        Act(
            "hold",
            "Hold",
            ("is held", "are held"),
            "Only waiting messages can be held.",
            frozenset({Status.QUEUED}),
            outbox.hold,
        ),
        Act(
            "release",
            "Release",
            ("was released", "were released"),
            "Only held messages can be released.",
            frozenset({Status.HELD}),
            outbox.release,
        ),
        Act(
            "move",
            "Move",
            ("was moved", "were moved"),
            "Only waiting and held messages can be moved.",
            frozenset({Status.QUEUED, Status.HELD}),
            outbox.move_to,
        ),
        Act(
            "delete",
            "Delete",
            ("was deleted", "were deleted"),
            "Only waiting, held and failed messages can be deleted.",
            frozenset({Status.QUEUED, Status.HELD, Status.FAILED}),
            outbox.delete,
        ),
    )
}


def perform(core: Core, act: Act, where: Sequence[Test], connection_id: int | None = None) -> int:
    """Run an act on the messages that meet ``where``, and say how many changed.

    :param connection_id: where to, for ``move``.
    :raises UnknownConnection: there is no such connection.
    """
    arguments: tuple[Any, ...] = (core, *where)
    if act.name == "move":
        arguments = (core, connection_id, *where)
    return act.run(*arguments)


def is_idle(core: Core, connection_id: int | None) -> bool:
    """Whether messages that are moved to this connection wait until somebody enables it."""
    with core.database.session() as session:
        target = session.get(Connection, connection_id) if connection_id else None
        return target is not None and not target.enabled


def outcome(
    act: Act, changed: int, asked: int | None, *, cut: bool = False, idle: bool = False
) -> tuple[str, str]:
    """Return the category and the sentence of what came of an act.

    :param asked: how many were selected; ``None`` for all that match.
    :param cut: whether there was more than one act takes.
    :param idle: whether they went to a connection that is disabled.
    """
    if not changed:
        return "warning", f"Nothing was changed. {act.cannot}"
    sentence = f"{counted(changed, 'message')} {agreeing(changed, *act.done)}."
    if asked is not None and changed < asked:
        sentence = (
            f"{number(changed)} of {counted(asked, 'message')} {agreeing(changed, *act.done)}. "
            f"{act.cannot}"
        )
    if idle:
        sentence += (
            f" That connection is disabled: {agreeing(changed, 'it waits', 'they wait')} until it "
            "is enabled."
        )
    if cut:
        sentence += " There are more than one act takes: repeat it to go on."
    return "success", sentence


def question(count: Count) -> str:
    """Return the question before messages are deleted."""
    return f"Delete {counted(count, 'unsent message')}?"
