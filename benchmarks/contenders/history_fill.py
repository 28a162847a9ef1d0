"""Fill an outbox with a history: ``database``, ``count``.

A short one gets more that is unsent or failed, so that its pages are as full as those of a long one.
"""

from __future__ import annotations

import sqlalchemy as sa

from benchmarks.contenders.stage import argument
from benchmarks.host import add_connection, core_of, make_app
from flask_smtp_admin.models import Attempt, AttemptStatus, Message, Recipient, Status
from tests import rows

SHORT = 10_000


def main() -> None:
    given = argument()
    app, smtp_admin = make_app(given["database"])
    with app.app_context():
        connection_id = add_connection(smtp_admin, 25, 10)
        engine = core_of(app).database.engine
        rows.fill(engine, given["count"], connection_id=connection_id)
        if given["count"] < SHORT:
            _spoil(engine)
        if engine.dialect.name == "postgresql":
            _count_on(engine)
        engine.dispose()


def _count_on(engine: sa.Engine) -> None:
    """Have PostgreSQL number new rows after those that came with a number of their own."""
    with engine.begin() as connection:
        for table in (Message, Recipient, Attempt):
            sequence = sa.func.pg_get_serial_sequence(table.__tablename__, "id")
            last = sa.select(sa.func.max(table.id)).scalar_subquery()
            connection.execute(sa.select(sa.func.setval(sequence, last)))


def _spoil(engine: sa.Engine) -> None:
    """Have every tenth message wait, and every fifteenth fail."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(Message).where(Message.id % 10 == 0).values(status=Status.QUEUED)
        )
        failed = {"status": Status.FAILED, "last_code": 550}
        connection.execute(sa.update(Message).where(Message.id % 15 == 7).values(failed))
        refused = {"status": AttemptStatus.FAIL, "smtp_code": 550}
        connection.execute(sa.update(Attempt).where(Attempt.id % 15 == 7).values(refused))


if __name__ == "__main__":
    main()
