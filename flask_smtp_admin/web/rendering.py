"""What every template sees: navigation, tokens, formatting, and the look that the host chose.

Owns the template context and the style sheet of the host's accent colour. Must not know what a
page shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from . import access
from .access import blueprint
from .formatting import Formatter

NAVIGATION = (
    ("Overview", "overview", ()),
    ("Connections", "connections", ("test",)),
    ("Queue", "queue", ()),
    ("Log", "log", ("messages",)),
)
"""Label, page, and the pages that belong to it, in the order of the navigation. A page is shown
once it has a start view."""

START_VIEWS = ("show", "list")


@dataclass(frozen=True)
class NavigationItem:
    """An entry of the navigation; ``current``: the present page is in that part of the pages."""

    label: str
    url: str
    current: bool


def navigation() -> list[NavigationItem]:
    """Return the pages that exist in this application."""
    items = []
    page_here = (request.endpoint or "").removeprefix(f"{blueprint.name}.").partition("_")[0]
    here = g.get("smtp_admin_part") or page_here
    for label, page, parts in NAVIGATION:
        endpoint = start_of(page)
        if endpoint is not None:
            current = here in (page, *parts)
            items.append(NavigationItem(label, url_for(endpoint), current))
    return items


def start_of(page: str) -> str | None:
    """Return the endpoint at which a page begins, or ``None`` while there is none."""
    for view in START_VIEWS:
        endpoint = f"{blueprint.name}.{page}_{view}"
        if endpoint in current_app.view_functions:
            return endpoint
    return None


def home_url() -> str:
    """Return the address of the first page."""
    endpoint = start_of("overview")
    return url_for(endpoint) if endpoint else url_for(f"{blueprint.name}.nowhere", path="")


def formatter() -> Formatter:
    """Return the formatter of this moment in the site's zone."""
    core = access.core()
    return Formatter(core.now(), core.config.zone)


def see_other(endpoint: str, **values: Any) -> BaseResponse:
    """Answer a POST: 303 to a view of ours, so that a reload does not send the form again."""
    return redirect(url_for(f"{blueprint.name}.{endpoint}", **values), code=303)


def context() -> dict[str, Any]:
    """Return the names that every template of these pages sees."""
    config = access.core().config
    return {
        "csrf_field_name": access.csrf_field_name,
        "csrf_value": access.csrf_token,
        "fmt": formatter(),
        "home_url": home_url,
        "logo_url": config.logo_url,
        "may": access.may,
        "navigation": navigation,
        "site_name": config.site_name or current_app.name,
        "zone_name": config.timezone,
    }


# ---------------------------------------------------------------- the host's accent colour


def brand() -> Response:
    """Give the accent colour of the host as a style sheet: inline styles are forbidden here."""
    response = Response(brand_css(access.core().config.accent_color), mimetype="text/css")
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_COLOR = re.compile(r"[a-zA-Z]+|(?:rgb|hsl|hwb|lab|lch|oklab|oklch)\([0-9a-z.,%/ +-]*\)")
_WHITE, _LIGHT_PAGE, _DARK_PAGE = (255.0,) * 3, (246.0, 247.0, 248.0), (28.0, 32.0, 38.0)
_READABLE = 4.6
"""A little above the 4.5 that WCAG 2.2 (1.4.3) asks of text."""

Color = tuple[float, float, float]


def brand_css(color: str) -> str:
    """Return the rules for an accent colour; nothing for one that is no CSS colour.

    A colour given as ``#rrggbb`` is darkened for the light page and lightened for the dark one
    until text in it can be read; any other notation is taken as it is.
    """
    color = color.strip()
    if _HEX.fullmatch(color):
        chosen = _parse(color)
        light = _until_readable(chosen, _LIGHT_PAGE, 0.0)
        dark = _until_readable(chosen, _DARK_PAGE, 255.0)
        return _rules(_write(light), _write(dark), _text_on(light), _text_on(dark))
    if _COLOR.fullmatch(color):
        return _rules(color, color, "#ffffff", "#10141a")
    return ""


def _rules(light: str, dark: str, on_light: str, on_dark: str) -> str:
    light_rule = f"--accent: {light}; --on-accent: {on_light};"
    dark_rule = f"--accent: {dark}; --on-accent: {on_dark};"
    return (
        f":root {{ {light_rule} }}\n"
        f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark_rule} }} }}\n'
        f':root[data-theme="dark"] {{ {dark_rule} }}\n'
    )


def _parse(color: str) -> Color:
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    return float(int(digits[:2], 16)), float(int(digits[2:4], 16)), float(int(digits[4:], 16))


def _write(color: Color) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in color)


def _until_readable(color: Color, page: Color, towards: float) -> Color:
    red, green, blue = color
    while contrast((red, green, blue), page) < _READABLE:
        red, green, blue = (part + (towards - part) * 0.08 for part in (red, green, blue))
    return red, green, blue


def _text_on(color: Color) -> str:
    return "#ffffff" if contrast(color, _WHITE) >= 4.5 else "#10141a"


def contrast(one: Color, other: Color) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""

    def luminance(color: Color) -> float:
        parts = (part / 255 for part in color)
        red, green, blue = (
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
