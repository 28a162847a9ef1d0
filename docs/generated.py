"""Parts of the documentation that are made from the code, so that they cannot drift from it.

Owns replacing ``<!-- generated: NAME -->`` in a page. Run by Sphinx while it reads the pages.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing

from flask_smtp_admin.config import PREFIX, Config
from flask_smtp_admin.connections.rules import (
    DEFAULTS,
    FIELDS,
    OPTIONAL,
    RANGES,
    REQUIRED,
    SECONDS,
    SECRET_FIELDS,
)
from flask_smtp_admin.models import AuthMechanism, Encryption
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


FIELD_MEANINGS = {
    "caption": "what the connection is called; no other has the same, whatever its capitals",
    "host": "name or IP address of the server; a driver may mean something else by it",
    "sender_name": "the name that recipients see",
    "sender_address": "the address that recipients see, where a message names no other",
    "port": "of the server",
    "use_auth": "whether to log in",
    "password": "stored encrypted; for `XOAUTH2` the access token",
    "driver": "how messages leave: `smtp`, or one that the application registers",
    "encryption": "what protects the session; see [above](#encryption)",
    "username": "as the server knows it",
    "auth_mechanism": "`auto` takes the first that both sides know",
    "allow_plain_auth": "whether the password may be sent without encryption",
    "ca_certificate": "certificate in PEM format to trust instead of the system's authorities",
    "connect_timeout": "how long to wait for the connection",
    "reply_timeout": "how long to wait for a reply",
    "final_timeout": "how long to wait for the reply to a whole message",
    "session_deadline": "after so long a session ends in any case",
    "enabled": "whether it carries messages; the only connection must",
    "fallback_id": "number of the connection that takes over when this one is broken",
    "hands_over": "whether the next one that carries the same senders takes over, where no fallback "
    "is named or that one is broken, too",
    "sender_patterns": "addresses or `*@example.org`, one a line, that it carries mail from",
    "limit_per_minute": "messages a minute at most",
    "limit_per_hour": "messages an hour at most",
    "limit_per_day": "messages a day at most",
    "max_sessions": "sessions that all workers together have at once",
    "messages_per_session": "messages that one session carries",
    "max_attempts": "tries of a message; unset: `SMTP_ADMIN_MAX_ATTEMPTS`",
}
"""What a field of a connection means; a field without an entry stops the documentation."""

FIELD_DEFAULTS = {
    "port": "that of the encryption",
    "use_auth": "`True` with a username",
    "password": "none",
}


def connection_fields() -> str:
    """Return the table of what ``add_connection`` takes, in the order of the rules."""
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {_field_type(name)} | {_field_default(name)} | {FIELD_MEANINGS[name]} |"
        for name in (*FIELDS, SECRET_FIELDS[0])
    ]
    return "\n".join(lines)


def _field_type(name: str) -> str:
    if name in RANGES:
        low, high, unit = RANGES[name]
        kind = "seconds" if unit == SECONDS else "whole number"
        return f"{kind}, {low:,} to {high:,}" + (", or `None`" if name in OPTIONAL else "")
    lists: dict[str, type[Encryption | AuthMechanism]]
    lists = {"encryption": Encryption, "auth_mechanism": AuthMechanism}
    choices = lists.get(name)
    if choices is not None:
        return " or ".join(f"`{one.value}`" for one in choices)
    if name in ("port", "fallback_id"):
        return "whole number"
    flag = name == "use_auth" or isinstance(DEFAULTS.get(name), bool)
    return TYPE_NAMES[bool] if flag else TYPE_NAMES[str]


def _field_default(name: str) -> str:
    if name in FIELD_DEFAULTS:
        return FIELD_DEFAULTS[name]
    if name in REQUIRED:
        return "required"
    value = DEFAULTS[name]
    return _default(getattr(value, "value", value))


PARTS = {
    "configuration": configuration,
    "search-words": search_words,
    "connection-fields": connection_fields,
}
