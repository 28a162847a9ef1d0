"""``SMTPAdmin``: in any order, with any number of applications, with a database or without one."""

from __future__ import annotations

import gc
import itertools
import logging
import sqlite3
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import flask_mail
import pytest
import sqlalchemy as sa
from flask import Flask, appcontext_pushed
from flask_sqlalchemy import SQLAlchemy

from flask_smtp_admin import SMTPAdmin, settling
from flask_smtp_admin.errors import (
    ConfigurationError,
    MessageError,
    NotInitializedError,
    OutboxUnavailable,
)
from flask_smtp_admin.models import Base, Connection, Message
from tests.apps import SECRET_KEY, MakeApp, bare_app, core_of, engine_of, rows_of
from tests.servers.catchall import CatchAll

TABLES = {table.name for table in Base.metadata.sorted_tables}


def a_message(subject: str = "Hello") -> flask_mail.Message:
    return flask_mail.Message(subject, recipients=["ada@example.org"], body="x")


def subjects(app: Flask) -> list[str]:
    return [row["subject"] for row in rows_of(app, Message)]


@pytest.fixture
def dispose() -> Iterator[list[Flask]]:
    """Applications whose engines are closed at the end."""
    made: list[Flask] = []
    yield made
    for app in made:
        core_of(app).database.bare_engine.dispose()


# ---------------------------------------------------------------- making and initialising


START = """
import sys
from flask import Flask
from flask_smtp_admin import SMTPAdmin
app = Flask("host", instance_path={folder!r})
app.config.update(SECRET_KEY="k" * 40, SMTP_ADMIN_REDIS_URL="redis://127.0.0.1:1/0")
SMTPAdmin(app)
late = (
    *("flask_smtp_admin.delivery", "flask_smtp_admin.worker", "flask_smtp_admin.smtp.session"),
    *("flask_smtp_admin.connections", "flask_smtp_admin.web.connections"),
    *("flask_smtp_admin.cli.connections", "rq", "alembic", "flask_wtf"),
)
print(*[name for name in late if name in sys.modules])
"""


def test_the_start_of_an_application_pays_neither_for_delivering_nor_for_pages(
    tmp_path: Path,
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", START.format(folder=str(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == []


def test_one_line_is_enough(tmp_path: Path, dispose: list[Flask]) -> None:
    app = Flask("host", instance_path=str(tmp_path / "instance"))
    app.config.update(SECRET_KEY=SECRET_KEY, TESTING=True)
    smtp_admin = SMTPAdmin(app)
    dispose.append(app)
    with app.app_context():
        message = flask_mail.Message("Hello", ["ada@example.org"], "x", sender="me@example.org")
        stored = smtp_admin.send(message)
    assert stored.id == 1
    assert stored.status == "queued"
    assert not stored.duplicate
    assert subjects(app) == ["Hello"]
    assert app.test_client().get("/smtp-admin/").status_code == 403


def test_one_object_serves_several_applications(tmp_path: Path, dispose: list[Flask]) -> None:
    smtp_admin = SMTPAdmin()
    apps = [bare_app(tmp_path / name) for name in ("one", "two")]
    for app in apps:
        smtp_admin.init_app(app)
        dispose.append(app)
        with app.app_context():
            smtp_admin.send(a_message(f"from {Path(app.instance_path).name}"))
    assert [subjects(app) for app in apps] == [["from one"], ["from two"]]


def test_several_objects_serve_an_application_each(make_app: MakeApp) -> None:
    one, two = make_app(), make_app(SMTP_ADMIN_SESSIONS=1)
    assert core_of(one) is not core_of(two)
    with one.app_context():
        SMTPAdmin().send(a_message())
    assert subjects(one) == ["Hello"]
    assert subjects(two) == []


@pytest.mark.parametrize("again", ["the same object", "another object"])
def test_a_second_time_on_one_application_is_a_clear_error(tmp_path: Path, again: str) -> None:
    app = bare_app(tmp_path)
    smtp_admin = SMTPAdmin(app)
    before = core_of(app)
    with pytest.raises(ConfigurationError, match="has SMTPAdmin already"):
        (smtp_admin if again == "the same object" else SMTPAdmin()).init_app(app)
    assert core_of(app) is before


def test_the_pages_are_mounted_where_one_likes(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    SMTPAdmin(app, url_prefix="/ops/mail", authorize=lambda action: False)
    assert app.test_client().get("/ops/mail/").status_code == 403
    assert app.test_client().get("/smtp-admin/").status_code == 404


def test_without_a_context_or_without_the_extension_it_says_what_to_do(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    smtp_admin = SMTPAdmin()
    message = object()
    with pytest.raises(NotInitializedError, match=r"with app.app_context\(\)"):
        smtp_admin.send(message)  # type: ignore[arg-type]
    with app.app_context(), pytest.raises(NotInitializedError, match=r"init_app\(app\)"):
        smtp_admin.send(message)  # type: ignore[arg-type]


def test_what_is_no_message_is_refused(app: Flask) -> None:
    with pytest.raises(MessageError, match="not dict"):
        SMTPAdmin().send({"subject": "x"})  # type: ignore[arg-type]


def test_an_application_that_nobody_needs_any_more_is_freed(tmp_path: Path) -> None:
    """Test suites make one for every test; a connection pool hangs on each."""
    smtp_admin = SMTPAdmin()

    def live_and_die(number: int) -> weakref.ref[Flask]:
        app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI="sqlite://")
        db = SQLAlchemy(app)
        smtp_admin.init_app(app)
        with app.app_context():
            db.create_all()
            smtp_admin.send(a_message())
            db.session.remove()
            db.engine.dispose()
        return weakref.ref(app)

    dead = [live_and_die(number) for number in range(3)]
    gc.collect()
    assert [reference() for reference in dead] == [None, None, None]


# ---------------------------------------------------------------- the order of initialisation

STEPS = {
    "database": lambda app, db, mail, smtp_admin: db.init_app(app),
    "mail": lambda app, db, mail, smtp_admin: mail.init_app(app),
    "admin": lambda app, db, mail, smtp_admin: smtp_admin.init_app(app),
}


@pytest.mark.parametrize("named", [True, False], ids=["db named", "db found"])
@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_any_order_works(tmp_path: Path, order: tuple[str, ...], named: bool) -> None:
    app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite'}")
    db, mail = SQLAlchemy(), flask_mail.Mail()
    smtp_admin = SMTPAdmin(db=db if named else None)
    for step in order:
        STEPS[step](app, db, mail, smtp_admin)
    with app.app_context():
        db.create_all()
        assert set(sa.inspect(db.engine).get_table_names()) >= TABLES
        smtp_admin.send(a_message("one"))
        mail.send(a_message("two"))
        db.session.execute(sa.text("UPDATE smtp_admin_message SET subject = 'changed'"))
        smtp_admin.send(a_message("never"))
        db.session.rollback()
        assert subjects(app) == ["one", "two"]
        db.engine.dispose()
    assert not list(tmp_path.glob("smtp-admin*"))


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_inside_one_context_the_admin_comes_last(tmp_path: Path, order: tuple[str, ...]) -> None:
    """What was there before is found at once, and what comes later at the next context."""
    app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite'}")
    db, mail, smtp_admin = SQLAlchemy(), flask_mail.Mail(), SMTPAdmin()
    with app.app_context():
        for step in order:
            STEPS[step](app, db, mail, smtp_admin)
        if order[-1] == "admin":
            db.create_all()
            mail.send(a_message("at once"))
    with app.app_context():
        db.create_all()
        mail.send(a_message("later"))
        assert subjects(app) == (["at once", "later"] if order[-1] == "admin" else ["later"])
        db.engine.dispose()


def test_a_mail_that_comes_late_is_captured_at_once(make_app: MakeApp, catchall: CatchAll) -> None:
    app = make_app(MAIL_SERVER=catchall.host, MAIL_PORT=catchall.port)

    @app.route("/")
    def send() -> str:
        flask_mail.Mail(app).send(a_message("made in a request"))
        return ""

    with app.app_context():
        flask_mail.Mail(app).send(a_message("made in a context"))
    app.testing = False
    for _ in range(2):
        app.test_client().get("/")
    with app.app_context():
        assert subjects(app) == ["made in a context", *["made in a request"] * 2]
    assert catchall.messages == []


def test_a_message_that_goes_past_the_outbox_is_warned_of_once(
    make_app: MakeApp, catchall: CatchAll, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(MAIL_SERVER=catchall.host, MAIL_PORT=catchall.port)
    with app.app_context():
        # Something puts Flask-Mail's own state back behind our back.
        own = flask_mail.Mail().init_mail(app.config, app.debug, testing=False)
        dict.__setitem__(app.extensions, "mail", own)
        own.send(a_message("past"))
        own.send(a_message("past"))
        assert len(catchall.wait_for(2)) == 2
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "A message went past the outbox: Mail(app)" in caplog.text


def test_a_request_costs_no_hook_once_the_application_is_complete(make_app: MakeApp) -> None:
    app = make_app(TESTING=False)
    app.add_url_rule("/", view_func=lambda: "")
    assert app.before_request_funcs.get(None)
    app.test_client().get("/")
    assert not app.before_request_funcs.get(None)
    assert not app.after_request_funcs.get(None)
    assert list(appcontext_pushed.receivers_for(app)) == []


def test_two_first_requests_may_come_at_once(make_app: MakeApp) -> None:
    app = make_app(TESTING=False)
    [hook] = app.before_request_funcs[None]
    with app.app_context():
        hook()
        hook()
    assert not app.before_request_funcs.get(None)


def test_a_process_that_is_forked_off_begins_anew_and_keeps_the_hooks_of_others(
    make_app: MakeApp,
) -> None:
    app = make_app(TESTING=False)
    app.add_url_rule("/", view_func=lambda: "")
    seen: list[str] = []
    app.before_request(lambda: seen.append("theirs"))
    app.test_client().get("/")
    settling._all.in_child()
    settling._all.in_child()
    assert len(app.before_request_funcs[None]) == 2
    app.test_client().get("/")
    assert len(app.before_request_funcs[None]) == 1
    assert seen == ["theirs", "theirs"]


# ---------------------------------------------------------------- where the outbox is


def test_without_flask_sqlalchemy_it_makes_a_file_of_its_own(make_app: MakeApp) -> None:
    app = make_app()
    folder = Path(app.instance_path)
    assert not folder.exists(), "nothing is made before it is needed"
    with app.app_context():
        SMTPAdmin().send(a_message())
    assert (folder / "smtp-admin.sqlite3").exists()
    with engine_of(app).connect() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2
        assert connection.scalar(sa.text("PRAGMA page_size")) == 2_048
        assert connection.scalar(sa.text("PRAGMA wal_autocheckpoint")) == 7_812
        assert set(sa.inspect(connection).get_table_names()) >= TABLES
    assert not core_of(app).database.is_hosts


def test_a_file_with_larger_pages_keeps_them(make_app: MakeApp) -> None:
    app = make_app()
    folder = Path(app.instance_path)
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "smtp-admin.sqlite3")) as older:
        older.execute("PRAGMA page_size=4096")
        older.execute("CREATE TABLE something (x)")
    with app.app_context():
        SMTPAdmin().send(a_message())
    with engine_of(app).connect() as connection:
        assert connection.scalar(sa.text("PRAGMA page_size")) == 4_096
        assert connection.scalar(sa.text("PRAGMA wal_autocheckpoint")) == 3_906
    assert subjects(app) == ["Hello"]


@pytest.mark.parametrize("folder_mode", [None, 0o755], ids=["makes the folder", "finds it"])
def test_its_own_files_are_for_their_owner_alone(
    make_app: MakeApp, folder_mode: int | None
) -> None:
    app = make_app()
    folder = Path(app.instance_path)
    if folder_mode is not None:
        folder.mkdir(parents=True)
        folder.chmod(folder_mode)
    with app.app_context():
        SMTPAdmin().send(a_message())
    with engine_of(app).connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in folder.glob("smtp-admin*")}
    assert modes == dict.fromkeys(
        [f"smtp-admin.sqlite3{ending}" for ending in ("", "-wal", "-shm")], 0o600
    )
    assert folder.stat().st_mode & 0o777 == (folder_mode or 0o700)


def test_a_file_that_exists_keeps_its_mode(make_app: MakeApp) -> None:
    app = make_app()
    file = Path(app.instance_path) / "smtp-admin.sqlite3"
    file.parent.mkdir(parents=True)
    file.touch()
    file.chmod(0o640)  # for a group that backs it up, say
    with app.app_context():
        SMTPAdmin().send(a_message())
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_restart_finds_what_was_stored(tmp_path: Path, dispose: list[Flask]) -> None:
    for subject in ("before", "after"):
        app = bare_app(tmp_path)
        smtp_admin = SMTPAdmin(app)
        dispose.append(app)
        with app.app_context():
            smtp_admin.send(a_message(subject))
    assert subjects(app) == ["before", "after"]


def test_a_database_of_its_own_may_be_named(database_url: str, make_app: MakeApp) -> None:
    app = make_app(SMTP_ADMIN_DATABASE_URI=database_url)
    with app.app_context():
        SMTPAdmin().send(a_message())
    assert subjects(app) == ["Hello"]
    engine = sa.create_engine(database_url)
    assert set(sa.inspect(engine).get_table_names()) >= TABLES
    engine.dispose()
    assert not Path(app.instance_path).exists()


def test_a_named_database_wins_over_the_host_s(tmp_path: Path, dispose: list[Flask]) -> None:
    app = bare_app(
        tmp_path,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite'}",
        SMTP_ADMIN_DATABASE_URI=f"sqlite:///{tmp_path / 'apart.sqlite'}",
    )
    db = SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app, db=db)
    dispose.append(app)
    with app.app_context():
        db.create_all()
        smtp_admin.send(a_message())
        assert sa.inspect(db.engine).get_table_names() == []
        db.engine.dispose()
    assert subjects(app) == ["Hello"]


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("nonsense", "postgresql+psycopg://"),
        ("nonsense://host/name", "postgresql+psycopg://"),
        ("postgresql+pg8000://host/name", "not installed"),
    ],
)
def test_an_address_that_leads_nowhere_says_what_to_write(
    make_app: MakeApp, uri: str, sentence: str
) -> None:
    app = make_app()  # whose own engine the fixture closes
    wrong = bare_app(Path(app.instance_path), SMTP_ADMIN_DATABASE_URI=uri)
    smtp_admin = SMTPAdmin(wrong)
    with wrong.app_context(), pytest.raises(ConfigurationError) as caught:
        smtp_admin.send(a_message())
    assert sentence in str(caught.value)


def test_tables_that_another_application_made_are_left_alone(
    database_url: str, make_app: MakeApp
) -> None:
    engine = sa.create_engine(database_url)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = make_app(SMTP_ADMIN_DATABASE_URI=database_url)
    for _ in range(2):
        with app.app_context(), pytest.raises(ConfigurationError, match="without their version"):
            SMTPAdmin().send(a_message())


def test_a_bind_that_does_not_exist_is_named(tmp_path: Path) -> None:
    app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI="sqlite://", SMTP_ADMIN_BIND_KEY="mail")
    SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app)
    with app.app_context(), pytest.raises(ConfigurationError, match="SQLALCHEMY_BINDS"):
        smtp_admin.send(a_message())


def test_a_bind_without_flask_sqlalchemy_is_an_error(tmp_path: Path) -> None:
    app = bare_app(tmp_path, SMTP_ADMIN_BIND_KEY="mail")
    smtp_admin = SMTPAdmin(app)
    with app.app_context(), pytest.raises(ConfigurationError, match=r"db.init_app\(app\)"):
        smtp_admin.send(a_message())


def test_binds_without_a_default_database_say_what_to_set(tmp_path: Path) -> None:
    app = bare_app(tmp_path, SQLALCHEMY_BINDS={"other": "sqlite://"})
    SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app)
    with app.app_context(), pytest.raises(ConfigurationError, match="SMTP_ADMIN_BIND_KEY"):
        smtp_admin.send(a_message())


def test_an_instance_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    app = bare_app(tmp_path / "file" / "instance")
    smtp_admin = SMTPAdmin(app)
    with app.app_context(), pytest.raises(ConfigurationError, match="SMTP_ADMIN_DATABASE_URI"):
        smtp_admin.send(a_message())


def test_tables_that_are_missing_say_what_to_run(database_url: str, tmp_path: Path) -> None:
    app = bare_app(tmp_path, SQLALCHEMY_DATABASE_URI=database_url)
    db = SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app)
    with app.app_context():
        with pytest.raises(OutboxUnavailable, match="flask db upgrade"):
            smtp_admin.send(a_message("too early"))
        db.create_all()
        smtp_admin.send(a_message("in time"))
        assert subjects(app) == ["in time"]
        db.engine.dispose()


# ---------------------------------------------------------------- the first connection


MAIL = {
    "MAIL_SERVER": "mail.example.org",
    "MAIL_PORT": 2525,
    "MAIL_DEFAULT_SENDER": "a@example.org",
}


def captions(app: Flask) -> list[str]:
    return [row["caption"] for row in rows_of(app, Connection)]


def test_the_first_connection_comes_from_the_mail_settings_once(
    tmp_path: Path, dispose: list[Flask]
) -> None:
    for _ in range(2):
        app = bare_app(tmp_path, **MAIL)
        SMTPAdmin(app)
        dispose.append(app)
        (row,) = rows_of(app, Connection)
        assert (row["host"], row["port"]) == ("mail.example.org", 2525)
        assert row["enabled"]


def test_it_is_not_made_again_where_another_one_is(tmp_path: Path, dispose: list[Flask]) -> None:
    app = bare_app(tmp_path)
    smtp_admin = SMTPAdmin(app)
    dispose.append(app)
    with app.app_context():
        smtp_admin.add_connection(
            caption="Mine",
            host="smtp.example.org",
            port=587,
            sender_name="Shop",
            sender_address="shop@example.org",
            use_auth=False,
        )
    later = bare_app(tmp_path, **MAIL)
    SMTPAdmin(later)
    dispose.append(later)
    assert captions(later) == ["Mine"]


def test_it_is_made_as_soon_as_the_host_has_made_the_tables(tmp_path: Path) -> None:
    app = bare_app(
        tmp_path, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite'}", **MAIL
    )
    db = SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app)
    with app.app_context():
        with pytest.raises(OutboxUnavailable):
            smtp_admin.send(a_message())
        db.create_all()
        assert smtp_admin.send(a_message()).id
        assert captions(app) == ["Default"]
        assert rows_of(app, Message)[0]["connection_id"] is not None
        db.engine.dispose()


def test_a_message_that_came_before_the_first_connection_gets_it(tmp_path: Path) -> None:
    """The first send of a process may be part of a transaction, where nothing else is written."""
    app = bare_app(
        tmp_path, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite'}", **MAIL
    )
    db = SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app)
    with app.app_context():
        db.create_all()
        db.session.execute(sa.text("CREATE TABLE t (x INTEGER)"))
        smtp_admin.send(a_message())
        db.session.commit()
        assert captions(app) == ["Default"]
        assert rows_of(app, Message)[0]["connection_id"] is not None
        db.engine.dispose()


def test_a_well_known_secret_key_leaves_the_password_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dispose: list[Flask]
) -> None:
    app = bare_app(
        tmp_path,
        **{**MAIL, "SECRET_KEY": "dev", "MAIL_USERNAME": "me", "MAIL_PASSWORD": "swordfish"},
    )
    SMTPAdmin(app)
    dispose.append(app)
    with caplog.at_level(logging.WARNING, "flask_smtp_admin"):
        (row,) = rows_of(app, Connection)
    assert row["password_token"] is None
    assert "secrets.token_hex" in caplog.text
    assert "swordfish" not in caplog.text


RACE = """
    import sys
    from flask import Flask
    from flask_smtp_admin import SMTPAdmin
    app = Flask("host", instance_path=sys.argv[1])
    app.config.update(SECRET_KEY=sys.argv[2], SMTP_ADMIN_DISPATCH="none", MAIL_SERVER="127.0.0.1")
    if sys.argv[3]:
        app.config["SMTP_ADMIN_DATABASE_URI"] = sys.argv[3]
    smtp_admin = SMTPAdmin(app)
    from email.message import EmailMessage
    message = EmailMessage()
    message["From"], message["To"] = "a@example.org", "b@example.org"
    print("ready", flush=True)
    sys.stdin.readline()
    with app.app_context():
        print(smtp_admin.send(message).id, flush=True)
"""


@pytest.mark.parametrize("place", ["own file", "database"])
def test_processes_that_start_at_once_make_the_tables_and_the_connection_once(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, dispose: list[Flask]
) -> None:
    if place == "own file":
        urls = [""]
    else:
        urls = [request.getfixturevalue(f"{name}_url") for name in ("postgres", "mariadb")]
    for number, url in enumerate(urls):
        folder = tmp_path / f"instance{number}"
        command = [sys.executable, "-c", textwrap.dedent(RACE), str(folder), SECRET_KEY, url]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        numbers = [process.communicate()[0].strip() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0, 0]
        assert sorted(numbers) == ["1", "2", "3", "4"]
        config: dict[str, Any] = {"SMTP_ADMIN_DATABASE_URI": url} if url else {}
        app = bare_app(folder, **config)
        SMTPAdmin(app)
        dispose.append(app)
        assert captions(app) == ["Default"]
        assert {row["connection_id"] for row in rows_of(app, Message)} == {1}


# ---------------------------------------------------------------- who may do what


@pytest.mark.parametrize(
    ("answer", "status"),
    [(True, 200), (False, 403), (None, 403), (1, 403), ("yes", 403), ([True], 403)],
)
def test_only_the_value_true_allows(tmp_path: Path, answer: Any, status: int) -> None:
    app = bare_app(tmp_path, TESTING=True)
    smtp_admin = SMTPAdmin(app)
    asked: list[str] = []

    @smtp_admin.authorize
    def may(action: str) -> Any:
        asked.append(action)
        return answer

    assert app.test_client().get("/smtp-admin/").status_code == status
    assert asked[0] == "view"
    assert may("view") is answer, "the decorator gives the function back"
    core_of(app).database.bare_engine.dispose()


def test_a_function_that_raises_means_no_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def may(action: str) -> bool:
        raise RuntimeError("no user here")

    app = bare_app(tmp_path)
    SMTPAdmin(app, authorize=may)
    assert app.test_client().get("/smtp-admin/").status_code == 403
    assert "no user here" in caplog.text


def test_without_a_function_everything_is_closed_and_debug_says_what_to_write(
    tmp_path: Path,
) -> None:
    app = bare_app(tmp_path)
    SMTPAdmin(app)
    closed = app.test_client().get("/smtp-admin/")
    assert closed.status_code == 403
    assert "authorize" not in closed.text
    app.debug = True
    closed = app.test_client().get("/smtp-admin/")
    assert closed.status_code == 403
    assert "@smtp_admin.authorize" in closed.text


def test_the_function_may_come_after_the_applications(tmp_path: Path) -> None:
    smtp_admin = SMTPAdmin()
    apps = [bare_app(tmp_path / name, TESTING=True) for name in ("one", "two")]
    for app in apps:
        smtp_admin.init_app(app)
    smtp_admin.authorize(lambda action: action == "view")
    late = bare_app(tmp_path / "late", TESTING=True)
    smtp_admin.init_app(late)
    for app in (*apps, late):
        assert app.extensions["smtp_admin"].allowed("view")
        assert not app.extensions["smtp_admin"].allowed("erase")
