"""Reading a head back: the short reader sees what the standard parser sees, or declines."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_smtp_admin.errors import BadHeader
from flask_smtp_admin.smtp.headers import date_time
from flask_smtp_admin.smtp.readback import check_read_back, read_as_standard, read_plain

FIELDS = [
    ("From", "a@example.org"),
    ("To", "b@example.org,\r\n c@example.org"),
    ("Subject", ""),
    ("Content-Type", 'multipart/alternative;\r\n boundary="=_0"'),
]


def head_of(fields: list[tuple[str, str]]) -> str:
    return "".join(f"{name}: {body}\r\n" for name, body in fields)


# What makes a parser of headers see one more, one less or another one.
WORDS = ("X", "X-Y", "-- ", ":", ": ", " :", "é", "=?q?=", "From x\r\n", "Bcc: x@example.org\r\n")
WHITE = ("\r\n", "\r", "\n", "\r\n\r\n", "\r\r\n", "\r\n ", "\r\n\t", "\n ", "\t", " ", "  ")
CONTROLS = ("\x00", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\u2028")
pieces = st.sampled_from((*WORDS, *WHITE, *CONTROLS))
jumbled = st.lists(pieces, max_size=8).map("".join)


@st.composite
def tampered(draw: st.DrawFn) -> str:
    """A head as it should be, into which something was put somewhere."""
    head = head_of(draw(st.permutations(FIELDS)))
    start = draw(st.integers(0, len(head)))
    return head[:start] + draw(jumbled) + head[start + draw(st.integers(0, 3)) :]


@given(jumbled | tampered())
@example(head_of(FIELDS))
@example("Subject: a \r\n")
@example("Subject: \r\n b\r\n")
@example("A: b\r\n\r\nC: d\r\n")
def test_what_the_short_reader_reads_the_standard_parser_reads_alike(text: str) -> None:
    found = read_plain(text.encode())
    if found is not None:
        assert read_as_standard(text) == (found, True)


def test_the_short_reader_reads_what_we_write() -> None:
    assert read_plain(head_of(FIELDS).encode()) == FIELDS


@pytest.mark.parametrize(
    "body",
    ["a\r\nBcc: b@example.org", "a\nBcc: b@example.org", "a\rBcc: b@example.org", "a\r\n\r\nb"],
)
def test_a_header_that_slips_in_is_found(body: str) -> None:
    meant = [("From", "a@example.org"), ("Subject", body)]
    with pytest.raises(BadHeader, match="read back as they were meant"):
        check_read_back(head_of(meant).encode(), meant)


def test_a_field_that_is_changed_or_lost_is_named() -> None:
    with pytest.raises(BadHeader, match=r"\(To\)"):
        check_read_back(head_of(FIELDS).replace("b@", "x@").encode(), FIELDS)
    with pytest.raises(BadHeader, match="Subject"):
        check_read_back(head_of(FIELDS).replace("Subject: \r\n", "").encode(), FIELDS)


def test_what_is_not_plain_is_left_to_the_standard_parser() -> None:
    for meant in ([("Subject", "é")], [("X", "a\r\n\tb")]):
        assert read_plain(head_of(meant).encode()) is None
        check_read_back(head_of(meant).encode(), meant)


@given(
    st.datetimes(
        timezones=st.just(timezone.utc) | st.just(timezone(timedelta(hours=5, minutes=30)))
    )
)
def test_dates_are_written_as_the_standard_library_writes_them(date: datetime) -> None:
    assert date_time(date) == format_datetime(date)
