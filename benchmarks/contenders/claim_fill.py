"""Have all messages but the first ``history`` be due, in a filled outbox: ``database``, ``history``."""

from __future__ import annotations

import sqlalchemy as sa

from benchmarks.contenders.stage import argument
from benchmarks.host import core_of, make_app
from benchmarks.message import prebuilt
from flask_smtp_admin.models import (
    Attempt,
    Message,
    MessageBody,
    Recipient,
    RecipientStatus,
    Status,
)


def main() -> None:
    given = argument()
    app, _ = make_app(given["database"])
    engine = core_of(app).database.engine
    due = Message.id > given["history"]
    with engine.begin() as connection:
        connection.execute(
            sa.update(Message)
            .where(~due, Message.status == Status.QUEUED)
            .values(status=Status.SENT, finished_at=Message.created_at)
        )
        connection.execute(
            sa.update(Message)
            .where(due)
            .values(status=Status.QUEUED, attempts_count=0, finished_at=None, last_code=None)
        )
        connection.execute(
            sa.update(Recipient)
            .where(Recipient.message_id > given["history"])
            .values(status=RecipientStatus.PENDING)
        )
        connection.execute(sa.delete(Attempt).where(Attempt.message_id > given["history"]))
        body = sa.select(Message.id, sa.literal(0), sa.literal(prebuilt())).where(due)
        connection.execute(
            sa.insert(MessageBody).from_select(["message_id", "part", "content"], body)
        )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


if __name__ == "__main__":
    main()
