"""What the documentation lists is what the code has."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
from itertools import chain
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from docs import generated
from flask_smtp_admin.cli import smtp_admin_cli
from flask_smtp_admin.config import PREFIX, Config
from flask_smtp_admin.connections import rules
from flask_smtp_admin.core import utc_now
from flask_smtp_admin.dispatch import resolve
from flask_smtp_admin.models import Message, Status
from flask_smtp_admin.models.states import TRANSITIONS
from flask_smtp_admin.signals import BY_CODE
from flask_smtp_admin.web.access import ACTIONS
from tests.docs.pages import DOCS, PAGES, ROOT, table, words

TEMPLATES = ROOT / "flask_smtp_admin" / "web" / "templates" / "smtp_admin"


def test_states_are_the_same_in_docs_code_and_database() -> None:
    documented = {words(row[0])[0]: set(words(row[2])) for row in table("queue.md", "## States")}
    code = {str(state): {str(to) for to in follow} for state, follow in TRANSITIONS.items()}
    assert documented == code
    check = next(
        str(constraint.sqltext)
        for constraint in Message.metadata.tables[Message.__tablename__].constraints
        if isinstance(constraint, sa.CheckConstraint) and "status" in str(constraint.name)
    )
    assert set(re.findall(r"'(\w+)'", check)) == set(documented) == {str(s) for s in Status}


@pytest.mark.parametrize("backend", ["sqlite", "postgres", "mariadb"])
def test_the_database_draws_the_same_line(backend: str, request: pytest.FixtureRequest) -> None:
    engine = sa.create_engine(request.getfixturevalue(f"{backend}_url"))
    Message.metadata.create_all(engine)
    row = Message(
        message_id="<1@example.org>",
        sender="shop@example.org",
        first_recipient="reader@example.org",
        recipient_count=1,
        size=1,
        due_at=utc_now(),
        created_at=utc_now(),
    )
    with Session(engine) as session:
        session.add(row)
        session.flush()
        # In plain words, since the model's own type lets no other state through.
        write = sa.text("UPDATE smtp_admin_message SET status = :status")
        for state in TRANSITIONS:
            session.execute(write, {"status": state.value})
        with pytest.raises(sa.exc.DBAPIError):
            session.execute(write, {"status": "lost"})
    engine.dispose()


def test_every_key_is_documented_with_type_default_and_meaning() -> None:
    text = generated.configuration()
    for spec in dataclasses.fields(Config):
        key = PREFIX + spec.name.upper()
        entry = re.search(rf"^`{key}`\n: (.+)\n\n  (.+)$", text, re.MULTILINE)
        assert entry, key
        assert entry[1] == spec.metadata["meaning"]
        assert "default " in entry[2]
    marks = [mark for page in PAGES for mark in generated.MARK.findall(page.read_text("utf-8"))]
    assert set(marks) == set(generated.PARTS)


def test_every_field_of_a_connection_is_documented_with_type_and_default() -> None:
    lines = generated.connection_fields().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    listed = {words(row[0])[0]: row[1:] for row in cells}
    assert set(listed) == {*rules.FIELDS, "password"} == set(generated.FIELD_MEANINGS)
    assert all(len(row) == 3 and all(row) for row in listed.values())
    assert listed["host"][1] == "required"
    assert listed["final_timeout"][:2] == ["seconds, 1 to 3,600", "600"]
    assert listed["encryption"][0] == "`none` or `starttls` or `implicit`"


def test_keys_that_pages_speak_of_exist() -> None:
    known = {PREFIX + spec.name.upper() for spec in dataclasses.fields(Config)}
    known.add("SMTP_ADMIN_REDIS_URI")  # the slip of the pen on the page of the configuration
    for page in PAGES:
        spoken = set(re.findall(r"SMTP_ADMIN_[A-Z_]*[A-Z]", page.read_text("utf-8")))
        assert spoken <= known, page.name


def test_signals_and_actions_are_all_listed() -> None:
    listed = {words(row[0])[0] for row in table("signals.md", "# Signals")}
    assert listed == set(BY_CODE)
    actions = {words(row[0])[0] for row in table("security.md", "## Who may do what")}
    assert actions == ACTIONS


def test_who_delivers_is_as_the_table_says() -> None:
    rows = {words(row[0])[0]: row[2] for row in table("delivery.md", "# Delivery and workers")}
    config = {"redis": Config(redis_url="redis://localhost"), "plain": Config()}

    def chosen(name: str, *, testing: bool = False, in_memory: bool = False) -> str:
        return resolve(config[name], testing=testing, in_memory=lambda: in_memory)

    assert "SMTP_ADMIN_REDIS_URL" in rows[chosen("redis")]
    assert rows[chosen("plain")] == "without"
    assert "in memory" in rows[chosen("plain", in_memory=True)]
    assert "app.testing" in rows[chosen("redis", testing=True)]


def test_the_defaults_under_tuning_are_those_of_the_code() -> None:
    rows = {words(row[0])[0]: row[1] for row in table("delivery.md", "## Tuning") if words(row[0])}
    assert rows == {
        "SMTP_ADMIN_SESSIONS": str(Config.sessions),
        "max_sessions": str(rules.DEFAULTS["max_sessions"]),
        "messages_per_session": str(rules.DEFAULTS["messages_per_session"]),
        "SMTP_ADMIN_MAX_ATTEMPTS": str(Config.max_attempts),
    }


def documented_commands() -> list[list[str]]:
    """Every ``flask smtp-admin …`` in the pages, as words without the first two."""
    texts = (page.read_text("utf-8") for page in PAGES)
    lines = (re.findall(r"flask (?:--app \S+ )?smtp-admin ([^`\n]+)", text) for text in texts)
    return [shlex.split(line) for line in chain.from_iterable(lines) if "…" not in line]


@pytest.mark.parametrize("command", documented_commands(), ids=" ".join)
def test_commands_in_pages_are_understood(command: list[str]) -> None:
    group: click.Command = smtp_admin_cli
    while isinstance(group, click.Group):
        name, *command = command
        found = group.get_command(click.Context(group), name)
        assert found is not None, name
        group = found
    with contextlib.suppress(
        click.MissingParameter
    ):  # a page may name a command without its options
        group.make_context("documented", command)


def test_no_command_is_cut_off_where_it_is_listed() -> None:
    groups: list[click.Command] = [smtp_admin_cli]
    for group in groups:
        assert isinstance(group, click.Group)
        context = click.Context(group, terminal_width=78)
        assert "..." not in group.get_help(context).partition("Commands:")[2]
        commands = [group.get_command(context, name) for name in group.list_commands(context)]
        groups += [command for command in commands if isinstance(command, click.Group)]


def test_every_command_is_in_the_table() -> None:
    text = (DOCS / "command-line.md").read_text("utf-8")
    context = click.Context(smtp_admin_cli)
    for name in smtp_admin_cli.list_commands(context):
        command = smtp_admin_cli.get_command(context, name)
        parts = (
            [f"{name} {sub}" for sub in command.commands]
            if isinstance(command, click.Group)
            else [name]
        )
        for part in parts:
            assert f"`{part}" in text, part


def test_templates_that_may_be_overridden_are_all_listed() -> None:
    rows = table("templates.md", "# Templates")
    listed = {name for row in rows for name in words(row[1])}
    there = {
        str(path.relative_to(TEMPLATES))
        for path in TEMPLATES.glob("*/*.html")
        if not path.name.startswith("_")
    }
    assert listed == there
    blocks = re.findall(r"{%-? block (\w+)", (TEMPLATES / "base.html").read_text("utf-8"))
    named = (
        (DOCS / "templates.md")
        .read_text("utf-8")
        .partition("The blocks of")[2]
        .partition("\n\n")[0]
    )
    assert set(words(named)) - {"smtp_admin/base.html"} == set(blocks)


def test_pictures_and_pages_that_are_linked_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_reached_from_the_first() -> None:
    entries = set(re.findall(r"^([a-z-]+)$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    assert entries == {path.stem for path in DOCS.glob("*.md")} - {"index"}


def test_pictures_are_small() -> None:
    for picture in Path(DOCS / "images").glob("*.png"):
        assert picture.stat().st_size < 200_000, picture.name
