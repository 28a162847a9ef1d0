"""The shop's inbox with mail that is damaged, or written to do damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from example_app.application import build
from example_app.folder import DataFolder
from example_app.tables import db

NAME = "0" * 20 + "-1-1"
HTML = b"Content-Type: text/html\r\n\r\n<p>good bones</p>"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    found = DataFolder(tmp_path / "data")
    found.make()
    return found


@pytest.fixture
def client(folder: DataFolder) -> Iterator[FlaskClient]:
    """The administrator, logged in, in front of an application without processes."""
    app = build(folder)
    app.config.update(TESTING=True, WTF_CSRF_ENABLED=False)
    with app.app_context():
        db.create_all()
    client = app.test_client()
    client.post("/login", data={"user": "admin", "password": folder.password()})
    yield client
    with app.app_context():
        db.engine.dispose()


def pages(client: FlaskClient, folder: DataFolder, content: bytes) -> tuple[str, str]:
    """Put a message into the inbox, and return its page and its HTML."""
    (folder.mail / f"{NAME}.eml").write_bytes(content)
    answers = [client.get(path) for path in ("/inbox/", f"/inbox/{NAME}", f"/inbox/{NAME}/html")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    return answers[1].text, answers[2].text


@pytest.mark.parametrize(
    "charset", ["undefined", "idna", "punycode", "hex", "nobody-knows", "utf-7", "a\0b"]
)
def test_a_charset_that_cannot_be_read_does_not_hide_the_text(
    client: FlaskClient, folder: DataFolder, charset: str
) -> None:
    start = f"From: ann@example.org\r\nContent-Type: text/plain; charset={charset}\r\n\r\n"
    page, _html = pages(client, folder, start.encode() + b"good bones +2AA- \xff\r\n")
    assert "good bones" in page


@pytest.mark.parametrize(
    "line",
    [
        b"From: " + b"(" * 5000,
        b"To: " + b"(" * 5000,
        b"Subject: =?undefined?q?abc?= =?utf-7?q?+2AA-?= \xff",
        b"From: =?idna?q?abc?= <ann@example.org>",
        b"Content-Disposition: " + b"(" * 5000,
        b"Message-ID: <[",
        b"Date: " + b"9" * 5000,
    ],
    ids=lambda line: line[:20].decode("ascii", "replace"),
)
def test_a_damaged_header_does_not_hide_the_message(
    client: FlaskClient, folder: DataFolder, line: bytes
) -> None:
    page, html = pages(client, folder, line + b"\r\nX-Other: 1\r\n" + HTML)
    assert "<iframe" in page
    assert "good bones" in html


def test_a_header_that_cannot_be_read_is_shown_as_it_arrived(
    client: FlaskClient, folder: DataFolder
) -> None:
    page, _html = pages(client, folder, b"From: " + b"(" * 5000 + b"\r\n\r\ngood bones")
    assert "(" * 5000 in page
    assert "good bones" in page


def test_damaged_content_types_are_taken_for_text(client: FlaskClient, folder: DataFolder) -> None:
    content = b"Content-Type: " + b"(" * 5000 + b"\r\n\r\ngood bones"
    assert "good bones" in pages(client, folder, content)[0]


def test_an_image_whose_type_is_no_replacement_is_put_in_as_it_is(
    client: FlaskClient, folder: DataFolder
) -> None:
    content = (
        b"Content-Type: multipart/related; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/html\r\n\r\n<img src='cid:one'>good bones\r\n"
        b"--x\r\nContent-Type: image/\\g\r\nContent-ID: <one>\r\n\r\npixels\r\n--x--\r\n"
    )
    assert "good bones" in pages(client, folder, content)[1]


def test_parts_without_end_show_their_headers(client: FlaskClient, folder: DataFolder) -> None:
    content = b"Subject: good bones\r\n"
    for number in range(1500):
        content += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (
            number,
            number,
        )
    assert "good bones" in pages(client, folder, content)[0]
