"""Fill an outbox with a long history: ``database``, ``count``."""

from __future__ import annotations

from benchmarks.contenders.stage import argument
from benchmarks.host import add_connection, core_of, make_app
from tests import rows


def main() -> None:
    given = argument()
    app, smtp_admin = make_app(given["database"])
    with app.app_context():
        connection_id = add_connection(smtp_admin, 25, 10)
        engine = core_of(app).database.engine
        rows.fill(engine, given["count"], connection_id=connection_id)
        engine.dispose()


if __name__ == "__main__":
    main()
