"""Parts of the documentation that are made from the code, so that they cannot drift from it.

Owns replacing ``<!-- generated: NAME -->`` in a page. Run by Sphinx while it reads the pages.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing

from flask_smtp_admin.config import PREFIX, Config
from flask_smtp_admin.search import ATTEMPTS, MESSAGES

MARK = re.compile(r"<!-- generated: ([a-z-]+) -->")
TYPE_NAMES = {str: "text", int: "whole number", bool: "`True` or `False`"}


def fill_in(app: object, docname: str, source: list[str]) -> None:
    """Replace the marks of one page; Sphinx calls it with the page in a list of one."""
    source[0] = MARK.sub(lambda match: PARTS[match[1]](), source[0])


def configuration() -> str:
    """Return a definition list of every key, in the order of the class."""
    hints = typing.get_type_hints(Config)
    return "\n".join(_key(spec, hints[spec.name]) for spec in dataclasses.fields(Config))


def _key(spec: dataclasses.Field[object], hint: object) -> str:
    facts = [_type_name(hint), f"default {_default(spec.default)}"]
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    if low is not None:
        facts.append(f"at least {low:,}" if high is None else f"{low:,} to {high:,}")
    if choices := spec.metadata.get("choices"):
        facts.append("one of " + ", ".join(f"`{choice}`" for choice in choices))
    name = PREFIX + spec.name.upper()
    return f"({name.lower().replace('_', '-')})=\n`{name}`\n: {spec.metadata['meaning']}\n\n  {'; '.join(facts)}\n"


def _type_name(hint: object) -> str:
    options = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
    wanted = next(option for option in options if option is not type(None))
    if typing.get_origin(wanted) is tuple:
        return "list of texts, or one text with commas"
    return TYPE_NAMES[wanted]


def _default(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "empty" if value in ("", ()) else f"`{value}`"


def search_words() -> str:
    """Return the table of the search words, as the pages' own help has them."""
    lines = ["| for example | finds messages that … |", "|---|---|"]
    lines += [f"| `{word.example}` | {word.meaning} |" for word in MESSAGES.words.values()]
    for language, page in ((MESSAGES, "queue"), (ATTEMPTS, "log")):
        names = ", ".join(f"`{name}`" for name in language.statuses)
        lines.append(f"| `status:` in the {page} | {names} |")
    return "\n".join(lines)


PARTS = {"configuration": configuration, "search-words": search_words}
