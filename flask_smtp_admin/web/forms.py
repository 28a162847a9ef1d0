"""What every form of these pages has in common.

Owns the ids of the inputs, where a form's data comes from, and which wrong field takes the focus.
Must not know any rule: rules live beside what they guard (:mod:`flask_smtp_admin.connections`), so
that code and command line obey them as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import Field, Form, fields
from wtforms.fields.core import UnboundField


def choices(*pairs: tuple[str, str]) -> list[Any]:
    """Return the choices of a field from pairs of value and label.

    WTForms 3.3 wants objects and warns of pairs; those before know nothing but pairs.
    """
    make = getattr(fields, "SelectChoice", None)
    return [make(*pair) for pair in pairs] if make else list(pairs)


def stripped(text: str | None) -> str:
    """Return text without the space around it: a filter for fields."""
    return (text or "").strip()


class PageForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no annotations
    """A form of ours: filled from a POST, or from ``data`` before there is one."""

    class Meta:
        """How WTForms binds the fields."""

        # The one check of the token is before every view (access.check_csrf), with a form or not.
        csrf = False

        def bind_field(self, form: Form, unbound: UnboundField[Any], options: Any) -> Field:
            """Bind a field under an id that nothing else on a page has; errors link to it."""
            bound: Field = unbound.bind(form=form, id=f"field-{options['name']}", **options)
            return bound

        def wrap_formdata(self, form: PageForm, given: object) -> MultiDict[str, str] | None:
            """Return what was posted as a form: uploads and JSON would bring more than text."""
            return request.form if form.is_submitted() else None

    def validate(self, extra_validators: Any = None) -> bool:
        """Check the fields; the first that is wrong takes the focus."""
        valid = bool(super().validate(extra_validators))
        self._focus()
        return valid

    def refuse(self, sentences: Mapping[str, str]) -> None:
        """Put what a rule elsewhere says, by field name, onto the fields."""
        for name, sentence in sentences.items():
            self[name].errors = [sentence]
        self._focus()

    def any_wrong(self, *names: str) -> bool:
        """Tell whether one of the fields is wrong: a folded part of the form opens for it."""
        return any(self[name].errors for name in names)

    def _focus(self) -> None:
        first = next((field for field in self if field.errors), None)
        if first is not None:
            first.render_kw = {**(first.render_kw or {}), "autofocus": True}
