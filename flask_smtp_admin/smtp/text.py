"""Making the words of a stranger safe to keep and to show, and refusing them in commands.

Owns the handling of control characters. Must know nothing of replies, sessions or messages.
"""

from __future__ import annotations

import re

# C0, DEL, C1 (with NEL), and the two Unicode line separators. Bidirectional overrides are shown
# escaped as well: they make a log line read as something that the server did not say.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def visible(raw: bytes) -> str:
    r"""Decode UTF-8 (anything else as ``\xNN``) and show every control character as an escape."""
    return escape(raw.decode("utf-8", "backslashreplace"))


def escape(text: str) -> str:
    r"""*text* with each control character, and each that reorders text, as ``\xNN`` or ``\uNNNN``."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escaped, text)


def has_control(text: str) -> bool:
    """Whether *text* holds a character that could end a line or hide in one."""
    return not (text.isascii() and text.isprintable()) and _CONTROL.search(text) is not None


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
