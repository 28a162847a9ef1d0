"""The tables: made by our own revisions, by ``create_all`` and by Flask-Migrate, always the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_mail import Message
from flask_sqlalchemy import SQLAlchemy

from flask_smtp_admin import SMTPAdmin, migrations
from flask_smtp_admin.host_database import attach_tables
from flask_smtp_admin.models import Base
from flask_smtp_admin.models.base import copy_tables
from tests.apps import MakeApp, bare_app

TABLES = {table.name for table in Base.metadata.sorted_tables}


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(database_url)
    yield made
    made.dispose()


def test_the_newest_revision_is_the_one_that_the_package_names() -> None:
    folder = ScriptDirectory.from_config(migrations._config())
    assert folder.get_current_head() == migrations.head()


def differences(engine: sa.Engine, metadata: sa.MetaData) -> list[object]:
    """Return what Alembic would change to make the database look like the metadata."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "version_table": migrations.VERSION_TABLE,
                "include_name": lambda name, kind, _: (
                    kind != "table" or name != migrations.VERSION_TABLE
                ),
            },
        )
        return list(compare_metadata(context, metadata))


def plain() -> sa.MetaData:
    metadata = sa.MetaData()
    copy_tables(metadata)
    return metadata


def schema(engine: sa.Engine) -> dict[str, object]:
    """Return everything about our tables that the database tells, names included."""
    inspector = sa.inspect(engine)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            "indexes": sorted(
                (str(index["name"]), tuple(index["column_names"]), bool(index["unique"]))
                for index in inspector.get_indexes(table)
            ),
            "checks": sorted(
                (str(check["name"]), check["sqltext"])
                for check in inspector.get_check_constraints(table)
            ),
            "foreign keys": sorted(
                (str(key["name"]), tuple(key["constrained_columns"]), str(key["options"]))
                for key in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(
                (str(unique["name"]), tuple(unique["column_names"]))
                for unique in inspector.get_unique_constraints(table)
            ),
        }
        for table in sorted(TABLES)
    }


def test_our_revisions_make_what_the_models_say(engine: sa.Engine) -> None:
    assert migrations.current(engine) is None
    migrations.upgrade(engine)
    assert migrations.current(engine) == migrations.head()
    assert differences(engine, plain()) == []


def test_our_revisions_and_create_all_make_the_same_schema(engine: sa.Engine) -> None:
    """Also what Alembic does not compare: CHECK constraints and names."""
    migrations.upgrade(engine)
    migrated = schema(engine)
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            table.drop(connection)
    plain().create_all(engine)
    assert schema(engine) == migrated


def test_an_upgrade_that_is_run_again_changes_nothing(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    before = schema(engine)
    migrations.upgrade(engine)
    assert schema(engine) == before


def test_a_naming_convention_of_the_host_changes_no_name_of_ours(sqlite_url: str) -> None:
    convention = {
        "ix": "hostix_%(column_0_label)s",
        "uq": "hostuq_%(table_name)s_%(column_0_name)s",
        "ck": "hostck_%(table_name)s_%(constraint_name)s",
        "fk": "hostfk_%(table_name)s_%(column_0_name)s",
        "pk": "hostpk_%(table_name)s",
    }
    engine = sa.create_engine(sqlite_url)
    migrations.upgrade(engine)
    ours = schema(engine)
    engine.dispose()
    host = sa.create_engine(f"{sqlite_url}-host")
    db = SQLAlchemy(metadata=sa.MetaData(naming_convention=convention))
    attach_tables(db, None)
    db.metadata.create_all(host)
    assert schema(host) == ours
    host.dispose()


def test_a_mariadb_made_for_latin1_takes_every_script(mariadb_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(mariadb_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER DATABASE CHARACTER SET latin1"))
    app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI=mariadb_url)
    db = SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app)
    with app.app_context():
        db.create_all()
        smtp_admin.send(Message("日本 🎉", recipients=["jürgen@exämple.org"], body="🎉"))
        stored = db.session.execute(
            sa.text("SELECT subject, first_recipient FROM smtp_admin_message")
        ).one()
        assert stored == ("日本 🎉", "jürgen@xn--exmple-cua.org")
        db.session.remove()
        db.engine.dispose()
    engine.dispose()


# ---------------------------------------------------------------- the command, and Flask-Migrate


def test_the_command_upgrades_a_database_of_our_own(make_app: MakeApp) -> None:
    app = make_app()
    runner = app.test_cli_runner()
    before = runner.invoke(args=["smtp-admin", "db", "current"])
    assert (before.exit_code, "no tables yet" in before.output) == (1, True)
    for _ in range(2):
        done = runner.invoke(args=["smtp-admin", "db", "upgrade"], catch_exceptions=False)
        assert done.output == f"The tables are at revision {migrations.head()}.\n"
    after = runner.invoke(args=["smtp-admin", "db", "current"])
    assert after.exit_code == 0


def test_the_command_leaves_the_host_s_database_alone(tmp_path: Path) -> None:
    app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI="sqlite://")
    SQLAlchemy(app)
    SMTPAdmin(app)
    for command in ("upgrade", "current"):
        result = app.test_cli_runner().invoke(args=["smtp-admin", "db", command])
        assert result.exit_code == 1
        assert "flask db migrate" in result.output


PROJECT = """
    import os
    import sqlalchemy as sa
    from flask import Flask
    from flask_migrate import Migrate
    from flask_sqlalchemy import SQLAlchemy
    from flask_smtp_admin import SMTPAdmin

    app = Flask(__name__)
    app.config["SECRET_KEY"] = "0d1d8a6c3a5f4b6f9a7e1c2b3d4e5f60"
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["PROJECT_DATABASE"]
    app.config["SMTP_ADMIN_DISPATCH"] = "none"
    db = SQLAlchemy(app)
    Migrate(app, db)
    smtp_admin = SMTPAdmin(app)

    class Order(db.Model):
        id = sa.orm.mapped_column(sa.Integer, primary_key=True)
        name = sa.orm.mapped_column(sa.String(50))
"""


class Project:
    """A developer's folder with an application in ``app.py``."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "app.py").write_text(textwrap.dedent(PROJECT))
        root = Path(__file__).parent.parent
        self.environment = {
            **os.environ,
            "FLASK_APP": "app",
            "PROJECT_DATABASE": database_url,
            "PYTHONPATH": str(root),
        }

    def flask(self, *arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    @property
    def revisions(self) -> list[Path]:
        return sorted((self.folder / "migrations" / "versions").glob("*.py"))


def test_flask_migrate_makes_the_tables_and_is_content_afterwards(
    database_url: str, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", database_url)
    project.flask("db", "init")
    project.flask("db", "migrate", "-m", "first")
    (revision,) = project.revisions
    text = revision.read_text()
    assert set(re.findall(r"create_table\(\s*'(smtp_admin_\w+)'", text)) == TABLES
    assert "flask_smtp_admin" not in text, "a revision must not need our code"
    project.flask("db", "upgrade")
    again = project.flask("db", "migrate", "-m", "second")
    assert "No changes in schema detected" in again
    assert project.revisions == [revision]

    engine = sa.create_engine(database_url)
    assert differences_of_ours(engine) == []
    engine.dispose()
    assert "(head)" in project.flask("db", "current")


def differences_of_ours(engine: sa.Engine) -> list[object]:
    """As above, but for the tables that are the host's."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in TABLES,
            },
        )
        return list(compare_metadata(context, plain()))


def test_the_tables_are_in_the_metadata_of_the_host_once(tmp_path: Path) -> None:
    db = SQLAlchemy()
    for number in range(2):
        app: Flask = bare_app(tmp_path / str(number), SQLALCHEMY_DATABASE_URI="sqlite://")
        db.init_app(app)
        SMTPAdmin(app, db=db)
    assert set(db.metadata.tables) >= TABLES
