"""Every example of README and documentation is run, and what it promises is looked at."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from flask_smtp_admin import SMTPAdmin, models
from flask_smtp_admin.core import EXTENSION_KEY
from tests.docs.pages import PAGES, Step, steps
from tests.servers.catchall import CatchAll


def host(folder: Path, catchall: CatchAll) -> dict[str, Any]:
    """Return the names of an application as the examples expect it: it delivers inline.

    They are those of the reader's own application; what an example takes from a package, it imports.
    """
    app = Flask("shop", instance_path=str(folder / "instance"), root_path=str(folder))
    app.config.update(
        SECRET_KEY="7d1f0c0a5e6b4c0f9d2e8b3a",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'shop.sqlite3'}",
        MAIL_SERVER=catchall.host,
        MAIL_PORT=catchall.port,
        MAIL_DEFAULT_SENDER=("Garden Shop", "shop@example.org"),
        SMTP_ADMIN_DISPATCH="inline",
    )
    db = SQLAlchemy(app)
    smtp_admin = SMTPAdmin(app, authorize=lambda action: True)

    class Order(db.Model):  # type: ignore[name-defined,misc]
        id = sa.orm.mapped_column(sa.Integer, primary_key=True)
        item = sa.orm.mapped_column(sa.String(100))

    return {
        "app": app,
        "catchall": catchall,
        "current_user": SimpleNamespace(is_authenticated=True, is_admin=True),
        "db": db,
        "Order": Order,
        "smtp_admin": smtp_admin,
    }


def looking_into(names: dict[str, Any]) -> dict[str, Callable[..., list[Any]]]:
    """Return the functions with which a check looks into the outbox of the example's ``app``."""

    def rows(model: type[models.Base]) -> list[Any]:
        app: Flask = names["app"]
        with app.app_context(), Session(app.extensions[EXTENSION_KEY].core.database.engine) as own:
            return list(own.scalars(sa.select(model).order_by(sa.desc("id"))))

    return {"rows": rows, "outbox": lambda: rows(models.Message)}


class Runner:
    """Runs the steps of one page, one after the other."""

    def __init__(self, page: Path, folder: Path, catchall: CatchAll) -> None:
        self._page = page
        self._folder = folder
        self._catchall = catchall
        self._count = 0
        self._names: dict[str, Any] = {}
        self._context = contextlib.ExitStack()

    def begin(self, kind: str) -> None:
        """Start anew, in a folder of its own."""
        self._context.close()
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        self._catchall.clear()
        # A check that needs a context for the blocks after it enters it, and this leaves it.
        self._names = {"__name__": "shop_of_the_docs", "enter": self._context.enter_context}
        self._names |= looking_into(self._names)
        self._context.enter_context(_inside(folder))
        if kind == "host":
            self._names |= host(folder, self._catchall)
            self._context.enter_context(self._names["app"].app_context())
            self._names["db"].create_all()

    def run(self, step: Step) -> None:
        """Run a block or a check; a failure names the page's own line."""
        if not self._names:
            self.begin("host")
        code = "\n" * (step.line - 1) + step.code
        exec(compile(code, str(self._page), "exec", dont_inherit=True), self._names)

    def close(self) -> None:
        """Leave the last folder and application."""
        self._context.close()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:  # contextlib.chdir is younger than Python 3.10
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(steps(page))], ids=lambda page: page.stem
)
def test_examples(page: Path, tmp_path: Path, catchall: CatchAll) -> None:
    runner = Runner(page, tmp_path, catchall)
    with contextlib.closing(runner):
        for step in steps(page):
            if step.kind in ("host", "bare"):
                runner.begin(step.kind)
            else:
                runner.run(step)


def test_every_page_that_shows_python_checks_what_it_does() -> None:
    for page in PAGES:
        kinds = [step.kind for step in steps(page)]
        assert "code" not in kinds or "check" in kinds, page.name
