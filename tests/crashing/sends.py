"""A process that sends and is killed: what is stored afterwards, against what it was told."""

from __future__ import annotations

import email
from email.message import Message as StandardMessage
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin.models import MessageBody, Recipient
from tests.apps import Host
from tests.crashing.forks import KILL, Forks
from tests.delivery.bench import Bench, a_bench

TOGETHER = ("host's ", "own ")
"""How the subjects begin of messages that are stored together or not at all."""
TOLD = "told"


def prepare(bench: Bench, folder: Path) -> None:
    """Make the tables of the application, beside those of the outbox."""
    host = Host(folder / "first", bench.engine.url.render_as_string(hide_password=False))
    host.close()
    bench.connection(_Nowhere())


class _Nowhere:
    host, port = "127.0.0.1", 1


def run(forks: Forks, url: str, folder: Path, number: int | None) -> int | str:
    """Have a child send, and be killed at a point if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    told = str(folder / TOLD)
    return forks.run("send", at=number, by=KILL, folder=str(folder), database_url=url, told=told)


def check(url: str, folder: Path, *, is_whole: bool) -> None:
    """Whatever returned is stored; whatever did not is stored whole or not at all.

    :param is_whole: whether everything was sent.
    """
    path = folder / TOLD
    told = path.read_text().splitlines() if path.exists() else []
    with a_bench(url, empty=False) as bench:
        rows = bench.messages()
        stored = [row.subject for row in rows]
        assert set(told) <= set(stored), f"told and not stored: {set(told) - set(stored)}"
        assert len(stored) == len(set(stored)), f"stored twice: {stored}"
        assert len(stored) <= len(told) + 3, "only what was under way may be stored untold"
        assert not is_whole or len(stored) == len(told) == 11
        for row in rows:
            _check_whole(bench, row)
        for beginning in TOGETHER:
            assert sum(subject.startswith(beginning) for subject in stored) in {0, 3}
        with bench.engine.connect() as connection:
            orders = connection.scalar(sa.text('SELECT count(*) FROM "order"'))
        assert orders == stored.count("with an order"), "the order and its message go together"
        numbers = {row.id for row in rows}
        for table in (Recipient, MessageBody):
            assert {part.message_id for part in bench.rows(table)} == numbers


def _check_whole(bench: Bench, row: Any) -> None:
    recipients = bench.recipients(row.id)
    assert len(recipients) == row.recipient_count == 2, f"{row.subject}: {recipients}"
    parts = bench.rows(MessageBody, MessageBody.message_id == row.id)
    content = b"".join(part.content for part in parts)
    assert len(content) == row.size, f"{row.subject}: {len(content)} of {row.size} bytes"
    read: StandardMessage = email.message_from_bytes(content)
    assert read["Message-ID"] == row.message_id, row.subject
    assert row.status == "queued", row.subject
    assert row.connection_id is not None, row.subject
