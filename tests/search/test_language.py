"""Tests of the grammar of the search, and of what it says when it does not understand."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_smtp_admin import search
from flask_smtp_admin.models import Status
from flask_smtp_admin.search import ATTEMPTS, MESSAGES, Known
from tests.rows import NOW, later

KNOWN = Known(
    now=NOW, zone=ZoneInfo("Europe/Berlin"), connections={1: "Main relay", 2: "Bulk", 3: "Bulk 2"}
)


def read(text: str, language: search.Language = MESSAGES) -> search.Search:
    return search.read(text, language, KNOWN)


def terms(text: str) -> list[tuple[str, str]]:
    found = read(text)
    assert not found.problems, found.problems
    return [(term.word, term.value) for term in found.terms]


def test_terms_are_words_with_values() -> None:
    assert terms('to:ann@example.org subject:"your order" code:451') == [
        ("to", "ann@example.org"),
        ("subject", "your order"),
        ("code", "451"),
    ]


def test_a_word_without_a_key_is_a_recipient_or_part_of_the_subject() -> None:
    assert terms('ann@example.org order "two words"') == [
        ("to", "ann@example.org"),
        ("text", "order"),
        ("text", "two words"),
    ]


def test_keys_are_read_in_any_case_and_quotes_may_stay_open() -> None:
    assert terms('TO:ann Subject:"open end') == [("to", "ann"), ("subject", "open end")]


def test_several_states_add_up() -> None:
    assert read("status:held status:failed status:HELD").statuses == (Status.HELD, Status.FAILED)
    assert Status.QUEUED in read("status:unsent").statuses


def test_a_state_has_the_name_of_the_page_and_that_of_the_database() -> None:
    assert read("status:queued").statuses == read("status:waiting").statuses == (Status.QUEUED,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("form:x", "“form:” is no search word. Did you mean “from:”?"),
        (
            "zzz:x",
            (
                "“zzz:” is no search word. There are “to:”, “from:”, “subject:”, "
                "“connection:”, “before:”, “after:”, “code:”, “reason:”, “id:” and “status:”."
            ),
        ),
        ("to: ann", "“to:” has nothing after it; write it without a space between."),
        ('""', "The quotation marks are empty."),
        (
            "status:lost",
            (
                "“lost” is no status. There are status:waiting, status:sending, "
                "status:held, status:failed, status:partial, status:sent, status:deleted and "
                "status:unsent."
            ),
        ),
        (
            "connection:x",
            "No connection is called “x”. There are “Main relay”, “Bulk” and “Bulk 2”.",
        ),
        (
            "code:45",
            (
                "“45” is no reply code. Write three digits (code:451), a class (code:4xx) or "
                "an enhanced code (code:4.7.1)."
            ),
        ),
        (
            "after:soon",
            (
                "“soon” is no time. Write after:2026-11-22, after:2026-11-22T14:30, "
                "after:yesterday, or an age such as after:3d, after:2h or after:30min."
            ),
        ),
        ("id:x", "“x” is no number of a message. Write id:1204."),
        ("a" * 501, "The search is longer than 500 characters."),
    ],
)
def test_what_is_not_understood_is_said_plainly(text: str, sentence: str) -> None:
    assert read(text).problems == (sentence,)


def test_every_problem_is_named_at_once() -> None:
    assert len(read("form:x before:soon code:1").problems) == 3


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2h", later(hours=-2)),
        ("30min", later(minutes=-30)),
        ("3d", later(days=-3)),
        ("2w", later(days=-14)),
        ("today", datetime(2026, 11, 21, 23, 0, tzinfo=timezone.utc)),
        ("yesterday", datetime(2026, 11, 20, 23, 0, tzinfo=timezone.utc)),
        ("2026-11-03", datetime(2026, 11, 2, 23, 0, tzinfo=timezone.utc)),
        ("2026-07-03T14:30", datetime(2026, 7, 3, 12, 30, tzinfo=timezone.utc)),
        ('"2026-07-03 14:30"', datetime(2026, 7, 3, 12, 30, tzinfo=timezone.utc)),
        ("2026-07-03T14:30+00:00", datetime(2026, 7, 3, 14, 30, tzinfo=timezone.utc)),
    ],
)
def test_times_are_dates_of_the_sites_zone_or_ages(value: str, time: datetime) -> None:
    assert read(f"after:{value}").criteria[0].since == time
    assert read(f"before:{value}").criteria[0].until == time


def test_a_time_out_of_all_bounds_is_no_time() -> None:
    assert "is no time" in read("before:99999w").problems[0]


def test_a_connection_is_its_caption_the_start_of_it_or_its_number() -> None:
    def streams(text: str) -> int:
        found = read(text)
        assert not found.problems
        return len(found.criteria[0].streams)

    assert streams('connection:"main RELAY"') == 1
    assert streams("connection:bulk") == 1
    assert streams("connection:Bul*") == 2
    assert streams("connection:2") == 1
    assert streams("connection:none") == 1


@pytest.mark.parametrize("value", ["²", "①", "٢", "9" * 400])
@pytest.mark.parametrize("word", ["connection", "id"])
def test_what_only_looks_like_a_number_is_none(word: str, value: str) -> None:
    assert len(read(f"{word}:{value}").problems) == 1


@pytest.mark.parametrize("text", ["order\x00", "to:\x00", "subject:a\x07b", 'id:"\x7f"'])
def test_control_characters_are_refused(text: str) -> None:
    found = read(text)
    assert found.problems == ("The search holds a control character; type it again.",)
    assert "\x00" not in found.text


def test_the_number_of_terms_is_bounded() -> None:
    assert not read("after:1d " * 20).problems
    assert read("after:1d " * 21).problems == ("The search has more than 20 terms.",)


def test_several_times_are_one_span() -> None:
    found = read("after:3d after:1d before:1h order before:2h")
    words, span = found.criteria
    assert (span.since, span.until) == (later(days=-1), later(hours=-2))
    assert words.where is not None
    assert read("order").criteria[0].since is None


def test_a_term_can_be_left_out() -> None:
    found = read('to:ann subject:"your order" code:4xx')
    assert found.without(found.terms[1]) == "to:ann code:4xx"
    assert found.without(found.terms[0]) == 'subject:"your order" code:4xx'


def test_each_list_names_the_states_that_it_has() -> None:
    assert not read("status:in-progress status:SUCCESS", ATTEMPTS).problems
    assert read("status:held", ATTEMPTS).problems


def test_the_examples_of_the_help_are_understood() -> None:
    known = Known(now=NOW, connections={1: "Main"})
    for language in (MESSAGES, ATTEMPTS):
        for word in language.words.values():
            assert not search.read(word.example, language, known).problems, word.example


@given(st.text(max_size=80))
def test_no_text_can_break_the_reading(text: str) -> None:
    found = read(text)
    for term in found.terms:
        again = read(term.text)
        assert [one.word for one in again.terms] == [term.word], term
