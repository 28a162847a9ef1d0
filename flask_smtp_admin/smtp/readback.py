"""Reading the head of a message back, and comparing it with what was meant.

Owns the last check before a message is frozen: whatever slipped through the checks of single values
and would add, change or lose a header ends here. Must not know how the head was written.
"""

from __future__ import annotations

import re
from email.errors import MultipartInvariantViolationDefect
from email.parser import HeaderParser

from flask_smtp_admin.errors import BadHeader

Fields = list[tuple[str, str]]
"""Name and body of each field, in order; a body with its folds and without its last line end."""

# One field in its simplest form: printable ASCII, one space behind the colon, and no line of a fold
# without something on it.
_PLAIN = re.compile(r"([!-9;-~]+): ((?:[!-~][ -~]*(?:\r\n +[!-~][ -~]*)*)?)\r\n")

_parser = HeaderParser()


def check_read_back(head: bytes, meant: Fields) -> None:
    """Compare what is read in *head* with what was *meant*.

    :raises BadHeader: when a field is missing, changed, or was never asked for.
    """
    if read_plain(head) == meant:
        return
    # As the parser of bytes would see them: octets above 127 as surrogates.
    text = head.decode("ascii", "surrogateescape")
    wanted = [(name, body.encode().decode("ascii", "surrogateescape")) for name, body in meant]
    found, clean = read_as_standard(text)
    if clean and found == wanted:
        return
    names = {name for name, _ in found} ^ {name for name, _ in meant}
    names |= {name for (name, _), its in zip(found, wanted, strict=False) if (name, _) != its}
    raise BadHeader(
        f"The headers would not be read back as they were meant ({', '.join(sorted(names))})."
    )


def read_plain(head: bytes) -> Fields | None:
    """The fields of a *head* in which nothing can be in doubt; None for any other.

    It takes a tenth of the standard parser's time, and nearly every message has such a head. What
    it reads the standard parser reads alike.
    """
    if not head.isascii():
        return None
    text = head.decode("ascii")
    found: Fields = []
    position = 0
    while position < len(text):
        field = _PLAIN.match(text, position)
        if field is None:
            return None
        found.append((field[1], field[2]))
        position = field.end()
    return found


def read_as_standard(text: str) -> tuple[Fields, bool]:
    """The fields that the standard parser finds in *text*, and whether all of it was fields."""
    read = _parser.parsestr(text)
    # Python 3.10 notes that a multipart has no parts yet, although only its head was to be read.
    defects = [d for d in read.defects if not isinstance(d, MultipartInvariantViolationDefect)]
    return list(read.raw_items()), not defects and not read.get_payload()
