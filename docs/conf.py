"""Sphinx's settings."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generated  # noqa: E402  (found through the line above)

project = "flask-smtp-admin"
author = "the flask-smtp-admin contributors"
copyright = "the flask-smtp-admin contributors"  # noqa: A001  (Sphinx's name)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = "flask-smtp-admin"
html_show_sourcelink = False
html_copy_source = False


def setup(app: object) -> None:
    """Have Sphinx fill in what comes from the code."""
    app.connect("source-read", generated.fill_in)  # type: ignore[attr-defined]
