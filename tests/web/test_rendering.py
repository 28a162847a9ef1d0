"""What every page shows: navigation, the host's look, times."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from flask_smtp_admin.web.formatting import Formatter, milliseconds, size
from flask_smtp_admin.web.rendering import brand_css, contrast
from tests.apps import MakeApp
from tests.web.visits import PREFIX, let_in, text

LIST = f"{PREFIX}/connections/"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)


def test_the_navigation_has_the_pages_and_marks_the_present_one(app: Flask) -> None:
    page = let_in(app).get(LIST).text
    labels = re.findall(r"<li><a href=[^>]*>(\w+)</a></li>", page.partition("</nav>")[0])
    assert labels == ["Overview", "Connections", "Queue", "Log"]
    assert re.search(r'aria-current="page">Connections<', page)


def test_the_host_gives_name_logo_and_zone(make_app: MakeApp) -> None:
    app = make_app(
        SMTP_ADMIN_SITE_NAME="Ümit & Söhne",
        SMTP_ADMIN_LOGO_URL="/static/logo.png",
        SMTP_ADMIN_TIMEZONE="Europe/Berlin",
    )
    page = let_in(app).get(LIST).text
    assert "Ümit &amp; Söhne" in page
    assert 'src="/static/logo.png"' in page
    assert "All times are in Europe/Berlin." in page


def test_the_host_overrides_a_template(make_app: MakeApp, tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "smtp_admin" / "problems"
    folder.mkdir(parents=True)
    (folder / "show.html").write_text("{{ title }} in the host's own words")
    app = make_app()
    app.jinja_loader = __import__("jinja2").FileSystemLoader(tmp_path / "templates")
    assert let_in(app).get(f"{PREFIX}/x").text == "Nothing is here in the host's own words"


@pytest.mark.parametrize("color", ["#ff0", "#00ff88", "#e91e63", "#000000", "#ffffff", "#777777"])
def test_an_accent_colour_stays_readable(color: str) -> None:
    css = brand_css(color)
    light, dark = re.findall(r"--accent: (#\w{6})", css)[:2]

    def parts(text: str) -> tuple[float, float, float]:
        return (
            float(int(text[1:3], 16)),
            float(int(text[3:5], 16)),
            float(int(text[5:], 16)),
        )

    assert contrast(parts(light), (246.0, 247.0, 248.0)) >= 4.5
    assert contrast(parts(dark), (28.0, 32.0, 38.0)) >= 4.5


@pytest.mark.parametrize("color", ["", "red; } body { display: none", "url(https://x)", "#12345"])
def test_what_is_no_colour_is_left_out(color: str) -> None:
    assert brand_css(color) == ""


def test_a_named_colour_is_taken() -> None:
    assert "--accent: rebeccapurple" in brand_css("rebeccapurple")
    assert "--accent: oklch(0.6 0.1 250)" in brand_css("oklch(0.6 0.1 250)")


def test_the_accent_colour_is_a_style_sheet(make_app: MakeApp) -> None:
    answer = make_app(SMTP_ADMIN_ACCENT_COLOR="#0b6e4f").test_client().get(f"{PREFIX}/brand.css")
    assert answer.mimetype == "text/css"
    assert "#0b6e4f" in answer.text


def test_times() -> None:
    fmt = Formatter(NOW, ZoneInfo("Europe/Berlin"))
    assert fmt.relative(NOW + timedelta(minutes=14)) == "in 14 min"
    assert fmt.exact(NOW) == "Sunday 22 Nov 2026, 10:00:00"
    assert fmt.iso(NOW) == "2026-11-22T09:00:00Z"
    assert fmt.moment(NOW) == "10:00"


def test_sizes_and_milliseconds() -> None:
    assert [size(n) for n in (1, 812, 4200, 999_400, 25_000_000)] == [
        "1 byte",
        "812 bytes",
        "4.2 kB",
        "999 kB",
        "25 MB",
    ]
    assert [milliseconds(n) for n in (None, 0, 142, 3200)] == ["", "< 1 ms", "142 ms", "3.2 s"]


def test_words_of_a_stranger_are_escaped(app: Flask) -> None:
    from tests.web.visits import a_connection

    a_connection(app, caption="<script>alert(1)</script>", sender_name='"><img src=x>')
    page = let_in(app).get(LIST).text
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "<script>alert(1)</script>" in text(page)
