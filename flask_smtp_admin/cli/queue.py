"""``flask smtp-admin queue``: the messages that have not been sent.

Owns the commands. What they find is written in the search language of the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import click
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_smtp_admin import outbox, paging, search, surroundings
from flask_smtp_admin.core import Core
from flask_smtp_admin.explanation import Surroundings, explain
from flask_smtp_admin.models import Message, Status
from flask_smtp_admin.paging import Criterion
from flask_smtp_admin.search import MESSAGES
from flask_smtp_admin.wording import Count, agreeing, counted, relative

from .connections import find_connection
from .group import current_state, smtp_admin_cli

UNSENT = MESSAGES.statuses["unsent"]
DELETABLE = (Status.QUEUED, Status.HELD, Status.FAILED)
SEARCHES = (
    "SEARCH is written as on the page of the queue, in quotes where a value has spaces: "
    "to:ann@example.org, 'subject:\"your order\"', status:held, connection:Main, before:3d, code:451. "
    "Without a status it finds what is waiting, being sent, held, failed or partly delivered."
)
"""What the help of every command says that takes a search."""
Command = TypeVar("Command", bound=Callable[..., Any])


@smtp_admin_cli.group("queue", epilog=SEARCHES)
def queue_group() -> None:
    """See and steer the messages that have not been sent."""


def _searching(command: Command) -> Command:
    return click.argument("words", metavar="[SEARCH]...", nargs=-1)(command)


def _acting(of_all: str) -> Callable[[Command], Command]:
    """Return what gives a command its search, or ``--all``.

    :param of_all: what ``--all`` stands for.
    """

    def add(command: Command) -> Command:
        everything = click.option("--all", "everything", is_flag=True, help=of_all)
        return everything(_searching(command))

    return add


@queue_group.command("list", epilog=SEARCHES)
@_searching
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="How many to show, newest first.",
)
def list_command(words: tuple[str, ...], limit: int) -> None:
    """List messages, each with what happened and what happens next."""
    state = current_state()
    core = state.core
    with core.database.session() as session:
        criteria = _criteria(session, core, words)
        connection = session.connection()
        page = paging.find(connection, MESSAGES.table, criteria, size=limit)
        total = paging.count(connection, MESSAGES.table, criteria)
        _show(session, page.ids, surroundings.read(session, core, state.dispatch))
    if not page.ids:
        click.echo("No message matches." if words else "Nothing waits.")
    elif total.more or total.number > len(page.ids):
        click.echo(f"{len(page.ids)} of {counted(total, 'message')}; --limit shows more.")


@queue_group.command(
    "retry", epilog=SEARCHES, short_help="Try messages now, also those that were given up."
)
@_acting("Every message that is waiting, held, failed or partly delivered.")
def retry_command(words: tuple[str, ...], everything: bool) -> None:
    """Try messages now.

    Waiting and held ones, and, with new tries and no expiry, failed and partly delivered ones.
    """
    done = ("was set to be tried at once", "were set to be tried at once")
    _act(words, everything, outbox.retry, done)


@queue_group.command("hold", epilog=SEARCHES)
@_acting("Every waiting message.")
def hold_command(words: tuple[str, ...], everything: bool) -> None:
    """Keep waiting messages back until they are released."""
    _act(words, everything, outbox.hold, ("is held", "are held"))


@queue_group.command("release", epilog=SEARCHES)
@_acting("Every held message.")
def release_command(words: tuple[str, ...], everything: bool) -> None:
    """Put held messages back into the queue."""
    _act(words, everything, outbox.release, ("was released", "were released"))


@queue_group.command(
    "move", epilog=SEARCHES, short_help="Have messages carried by another connection."
)
@click.argument("target", metavar="CONNECTION")
@_acting("Every waiting or held message.")
def move_command(target: str, words: tuple[str, ...], everything: bool) -> None:
    """Have waiting and held messages carried by CONNECTION, given by its number or caption."""
    core = current_state().core
    found = find_connection(core, target)
    done = f"moved to “{found.caption}”"
    _act(words, everything, partial(_move, found.id), (f"was {done}", f"were {done}"))
    if not found.enabled:
        click.echo("It is disabled, so that they wait until it is enabled.")


def _move(connection_id: int, core: Core, *where: sa.ColumnElement[bool]) -> int:
    return outbox.move_to(core, connection_id, *where)


@queue_group.command(
    "delete", epilog=SEARCHES, short_help="Delete messages, so that they are never sent."
)
@_acting("Every message that is waiting, held or failed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_command(words: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Delete messages that are waiting, held or failed.

    They are never sent, and their content goes.
    """
    if not yes:
        count = _count(words, everything)
        if not count:
            click.echo("No unsent message matches.")
            return
        click.confirm(f"Delete {counted(count, 'unsent message')}?", abort=True)
    _act(words, everything, outbox.delete, ("was deleted", "were deleted"))


# ---------------------------------------------------------------- finding


def _act(
    words: Sequence[str], everything: bool, run: Callable[..., int], done: tuple[str, str]
) -> None:
    """Run an act on all that match, in as many steps as it takes."""
    _require_choice(words, everything)
    core = current_state().core
    with core.database.session() as session:
        up_to: int = session.scalar(sa.select(sa.func.max(Message.id))) or 0
    changed = 0
    rest: int | None = up_to
    while rest is not None:
        with core.database.session() as session:
            connection, criteria = session.connection(), _criteria(session, core, words)
            where, rest = paging.reach(connection, MESSAGES.table, criteria, up_to=rest)
        changed += run(core, *where)
    click.echo(f"{counted(changed, 'message')} {agreeing(changed, *done)}.")


def _count(words: Sequence[str], everything: bool) -> Count:
    _require_choice(words, everything)
    core = current_state().core
    with core.database.session() as session:
        criteria = _criteria(session, core, words, DELETABLE)
        return paging.count(session.connection(), MESSAGES.table, criteria)


def _require_choice(words: Sequence[str], everything: bool) -> None:
    if words and everything:
        raise click.UsageError("Give a search or --all, not both.")
    if not (words or everything):
        raise click.UsageError("Say which messages: a search such as status:held, or --all.")


def _criteria(
    session: Session, core: Core, words: Sequence[str], fitting: Sequence[Status] | None = None
) -> list[Criterion]:
    """Return the conditions of a search; without ``status:`` it finds what has not been sent."""
    found = search.read(" ".join(words), MESSAGES, surroundings.known(session, core))
    if found.problems:
        raise click.UsageError(" ".join(found.problems))
    statuses = found.statuses or UNSENT
    wanted = [status for status in statuses if fitting is None or status in fitting]
    return [MESSAGES.status_criterion(wanted), *found.criteria]


# ---------------------------------------------------------------- showing


def _show(session: Session, ids: Sequence[int], around: Surroundings) -> None:
    rows = session.scalars(
        sa.select(Message).where(Message.id.in_(ids)).order_by(Message.id.desc())
    ).all()
    around = surroundings.of_messages(session, around, rows)
    for message in rows:
        others = message.recipient_count - 1
        to = message.first_recipient + (f" +{others} more" if others else "")
        click.echo(f"{message.id:>8}  {to}  {message.subject or '(no subject)'}")
        made = relative(message.created_at, around.now)
        click.echo(f"{'':>10}{explain(message, around).sentence} Made {made}.")
