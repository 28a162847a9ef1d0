"""Freezing: what goes in comes out of the standard parser, and nothing else does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, message_from_string, policy
from email.header import Header, decode_header, make_header
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage, Message
from email.mime.text import MIMEText
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_smtp_admin.errors import (
    BadAddress,
    BadHeader,
    MessageError,
    MessageTooLarge,
    NoRecipients,
)
from flask_smtp_admin.smtp import Draft, FrozenMessage, Part, freeze
from flask_smtp_admin.smtp.addresslist import read_list

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def draft(**changes: Any) -> Draft:
    values: dict[str, Any] = {
        "subject": "Hello",
        "sender": "a@example.test",
        "to": ("b@example.test",),
        "text": "hi",
    }
    return Draft(**(values | changes))


def standard(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "a@example.test", "To": "b@example.test", **headers}.items():
        message[name.replace("_", "-")] = value
    message.set_content("hi\n")
    return message


def parsed(frozen: FrozenMessage) -> EmailMessage:
    message = message_from_bytes(frozen.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def addresses(frozen: FrozenMessage) -> list[str]:
    return [recipient.address for recipient in frozen.recipients]


def names(frozen: FrozenMessage, field: str) -> list[str]:
    """The display names of a field, by the older reader.

    The newer one puts a space between the encoded-words of a long name (RFC 2047 section 6.2 has
    them joined).
    """
    raw = message_from_bytes(frozen.content)[field]
    return [str(make_header(decode_header(name))) for name, _ in getaddresses([raw])]


# ---------------------------------------------------------------- what comes back

controls = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))
words = st.text(st.characters(codec="utf-8", exclude_characters=controls))
bodies = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))
texts = st.lists(bodies, min_size=1, max_size=8).map("\n".join)
locals_ = st.from_regex(r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]{1,20}(\.[a-z]{1,9})?", fullmatch=True)
specs = st.builds("{}@{}.example".format, locals_, st.from_regex(r"[a-z]{1,12}", fullmatch=True))
pairs = st.tuples(words, specs)
parts = st.builds(
    Part,
    filename=st.none() | words,
    content_type=st.sampled_from(["application/pdf", "image/png", "text/plain", "text/csv"]),
    data=st.binary(max_size=300),
)


def squeezed(text: str) -> str:
    """Readers differ in white space at the ends and around folds, and in nothing else."""
    return " ".join(text.split())


def body_text(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


@settings(max_examples=60, deadline=None)
@given(
    subject=words,
    sender=pairs,
    to=st.lists(pairs, min_size=1, max_size=5),
    cc=st.lists(pairs, max_size=3),
    bcc=st.lists(specs, max_size=3),
    text=texts,
    html=st.none() | texts,
    attachments=st.lists(parts, max_size=3),
)
def test_parsing_gives_back_what_was_written(
    subject: str,
    sender: tuple[str, str],
    to: list[tuple[str, str]],
    cc: list[tuple[str, str]],
    bcc: list[str],
    text: str,
    html: str | None,
    attachments: list[Part],
) -> None:
    frozen = freeze(
        Draft(
            subject=subject,
            sender=sender,
            to=tuple(to),
            cc=tuple(cc),
            bcc=tuple(bcc),
            text=text,
            html=html,
            attachments=tuple(attachments),
        ),
        now=NOW,
    )
    message = parsed(frozen)
    assert squeezed(message["Subject"]) == squeezed(subject)
    assert message["From"].addresses[0].addr_spec == sender[1]
    assert list(map(squeezed, names(frozen, "From"))) == [squeezed(sender[0])]
    for name, given_pairs in (("To", to), ("Cc", cc)):
        found = message[name].addresses if given_pairs else ()
        assert [address.addr_spec for address in found] == [spec for _, spec in given_pairs]
        if given_pairs:
            wanted = [squeezed(name) for name, _ in given_pairs]
            assert list(map(squeezed, names(frozen, name))) == wanted
    assert set(addresses(frozen)) == {spec for _, spec in (*to, *cc)} | set(bcc)
    assert message["Bcc"] is None
    plain = message.get_body(("plain",))
    assert body_text(plain).removesuffix("\n") == text.removesuffix("\n")
    if html is not None:
        assert body_text(message.get_body(("html",))).removesuffix("\n") == html.removesuffix("\n")
    found_parts = list(message.iter_attachments()) if attachments else []
    assert [part.get_payload(decode=True) for part in found_parts] == [p.data for p in attachments]
    assert [squeezed(part.get_filename() or "") for part in found_parts] == [
        squeezed(part.filename or "") for part in attachments
    ]
    assert not message.defects
    _assert_canonical(frozen.content)


def _assert_canonical(content: bytes) -> None:
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 5000,
        "ü" * 5000,
        "trailing space \nFrom here\n.\n..",
        "nul \0 and bell \a",
        "old mac\rline ends\r\nmixed\n",
        "日本語のテキスト" * 50,
    ],
)
def test_texts_that_need_care(text: str) -> None:
    frozen = freeze(draft(text=text), now=NOW)
    got = body_text(parsed(frozen)).removesuffix("\n")
    assert got == text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    _assert_canonical(frozen.content)
    assert not frozen.eight_bit


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        (("x" * 998 + "\n") * 3, "7bit"),
        ("x\n" * 499 + "y" * 998, "7bit"),
        ("x\n" * 499 + "y" * 999 + "\n", "quoted-printable"),
        ("x" * 998 + "\n" + "y" * 1500, "quoted-printable"),
        ("tab\t", "7bit"),
        ("bell \a", "quoted-printable"),
        ("delete \x7f", "quoted-printable"),
        ("nul \0 within", "quoted-printable"),
    ],
)
def test_a_text_is_encoded_only_where_it_has_to_be(text: str, encoding: str) -> None:
    assert parsed(freeze(draft(text=text), now=NOW))["Content-Transfer-Encoding"] == encoding


# ---------------------------------------------------------------- structure


def tree(message: Any) -> Any:
    if not message.is_multipart():
        return message.get_content_type()
    return (message.get_content_subtype(), *(tree(part) for part in message.iter_parts()))


IMAGE = Part("logo.png", "image/png", b"\x89PNG", "inline", "logo@x")
FILE = Part("a.pdf", "application/pdf", b"%PDF")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "text/plain"),
        ({"text": None, "html": "<p>"}, "text/html"),
        ({"html": "<p>"}, ("alternative", "text/plain", "text/html")),
        ({"attachments": (FILE,)}, ("mixed", "text/plain", "application/pdf")),
        (
            {"html": "<img src=cid:logo@x>", "attachments": (IMAGE,)},
            ("alternative", "text/plain", ("related", "text/html", "image/png")),
        ),
        (
            {"html": "<p>", "attachments": (FILE, IMAGE)},
            (
                "mixed",
                ("alternative", "text/plain", ("related", "text/html", "image/png")),
                "application/pdf",
            ),
        ),
        ({"attachments": (IMAGE,)}, ("mixed", "text/plain", "image/png")),
        (
            {"alternatives": (("text/calendar; method=REQUEST; charset=utf-8", "BEGIN:"),)},
            ("alternative", "text/plain", "text/calendar"),
        ),
        ({"text": None}, "text/plain"),
    ],
)
def test_the_structure_is_only_as_deep_as_needed(changes: dict[str, Any], expected: Any) -> None:
    assert tree(parsed(freeze(draft(**changes), now=NOW))) == expected


def test_an_alternative_keeps_its_parameters() -> None:
    frozen = freeze(draft(alternatives=(("text/calendar; method=REQUEST", "BEGIN:"),)), now=NOW)
    part = list(parsed(frozen).iter_parts())[1]
    assert part["Content-Type"].params == {"method": "REQUEST", "charset": "utf-8"}


def test_a_message_within_the_message_is_not_encoded() -> None:
    inner = b"Subject: inner\n\nhello\n"
    frozen = freeze(draft(attachments=(Part("m.eml", "message/rfc822", inner),)), now=NOW)
    part = next(parsed(frozen).iter_attachments())
    assert part.get_content()["Subject"] == "inner"


def test_an_inline_part_has_its_content_id() -> None:
    frozen = freeze(draft(html="<p>", attachments=(IMAGE,)), now=NOW)
    assert b"Content-ID: <logo@x>\r\n" in frozen.content


# ---------------------------------------------------------------- the envelope and the facts


def test_bcc_is_in_the_envelope_alone() -> None:
    frozen = freeze(draft(bcc=("s@example.test",), cc=(("C", "c@example.test"),)), now=NOW)
    assert [(r.address, r.kind, r.name) for r in frozen.recipients] == [
        ("b@example.test", "to", ""),
        ("c@example.test", "cc", "C"),
        ("s@example.test", "bcc", ""),
    ]
    assert b"s@example" not in frozen.content
    assert b"bcc:" not in frozen.content.lower()


def test_a_recipient_is_named_once_whatever_the_case_of_the_domain() -> None:
    frozen = freeze(
        draft(to=("b@Example.test", "b@example.TEST", "B@example.test"), bcc=("b@example.test",)),
        now=NOW,
    )
    assert addresses(frozen) == ["b@Example.test", "B@example.test"]


def test_international_domains_become_a_labels_and_local_parts_need_smtputf8() -> None:
    frozen = freeze(draft(to=("b@bücher.example",), sender=("Jörg", "a@exämple.test")), now=NOW)
    assert addresses(frozen) == ["b@xn--bcher-kva.example"]
    assert frozen.sender == "a@xn--exmple-cua.test"
    assert not frozen.smtputf8
    assert frozen.content.isascii()
    frozen = freeze(draft(to=("jörg@bücher.example",), subject="ü"), now=NOW)
    assert frozen.smtputf8
    assert frozen.eight_bit
    assert "To: jörg@xn--bcher-kva.example\r\n".encode() in frozen.content
    assert "Subject: ü\r\n".encode() in frozen.content


def test_message_id_and_date_are_made_once() -> None:
    frozen = freeze(draft(), now=NOW)
    assert frozen.message_id.endswith("@example.test>")
    assert frozen.message_id.encode() in frozen.content
    assert frozen.date == NOW
    assert b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n" in frozen.content
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    frozen = freeze(draft(message_id="x@y", date=elsewhere), now=NOW)
    assert frozen.message_id == "<x@y>"
    assert frozen.date == NOW
    assert b"Date: Sun, 22 Nov 2026 17:00:00 +0500\r\n" in frozen.content


def test_the_facts_for_the_pages() -> None:
    frozen = freeze(
        draft(sender=("Doe, Jane", "a@example.test"), reply_to=("R", "r@example.test")), now=NOW
    )
    assert frozen.from_header == '"Doe, Jane" <a@example.test>'
    assert frozen.reply_to == "R <r@example.test>"
    assert frozen.size == len(frozen.content)
    two = freeze(draft(reply_to=("r@example.test", "s@example.test")), now=NOW)
    assert two.reply_to == "r@example.test, s@example.test"


def test_the_return_path_can_differ() -> None:
    assert freeze(draft(envelope_from="bounce@example.test"), now=NOW).sender == (
        "bounce@example.test"
    )
    assert freeze(draft(envelope_from=""), now=NOW).sender == ""


def test_a_default_sender_is_used_when_there_is_none() -> None:
    frozen = freeze(draft(sender=None), now=NOW, default_sender=("Shop", "shop@example.test"))
    assert frozen.from_header == "Shop <shop@example.test>"
    with pytest.raises(MessageError, match="no sender"):
        freeze(draft(sender=None), now=NOW)


@pytest.mark.parametrize(
    ("headers", "automated"),
    [
        ({}, False),
        ({"Auto-Submitted": "no"}, False),
        ({"auto-submitted": "auto-generated"}, True),
        ({"Auto-Submitted": "auto-replied; x=y"}, True),
        ({"Auto-Submitted": "No; comment"}, False),
    ],
)
def test_automated(headers: dict[str, str], automated: bool) -> None:
    assert freeze(draft(headers=headers), now=NOW).automated is automated
    assert freeze(standard(**headers), now=NOW).automated is automated


def test_nobody_to_send_to() -> None:
    with pytest.raises(NoRecipients):
        freeze(draft(to=()), now=NOW)
    with pytest.raises(NoRecipients):
        freeze(standard(To="undisclosed-recipients:;"), now=NOW)


def test_too_large_names_both_sizes() -> None:
    big = Part("x", "application/zip", b"x" * 3 * 2**20)
    with pytest.raises(MessageTooLarge, match=r"4\.\d MiB.*3\.5 MiB"):
        freeze(draft(attachments=(big,)), now=NOW, max_bytes=7 * 2**19)
    with pytest.raises(MessageTooLarge, match=r"3\.0 MiB.*1\.0 MiB"):
        freeze(draft(attachments=(big,)), now=NOW, max_bytes=2**20)


def test_a_lone_surrogate_is_refused_in_words() -> None:
    for changes in ({"text": "\ud800"}, {"subject": "\ud800"}):
        with pytest.raises(MessageError):
            freeze(draft(**changes), now=NOW)


# ---------------------------------------------------------------- tricks

LINE_ENDS = ["\r\n", "\n", "\r", "\0", "\u2028", "\u2029", "\x85", "\x0b", "\x1c"]
PLACES: dict[str, Callable[[str], Draft]] = {
    "subject": lambda text: draft(subject=text),
    "sender": lambda text: draft(sender=(text, "a@example.test")),
    "sender address": lambda text: draft(sender=("x", text)),
    "to": lambda text: draft(to=(f"{text} <b@example.test>",)),
    "to address": lambda text: draft(to=(text,)),
    "cc": lambda text: draft(cc=((text, "c@example.test"),)),
    "reply-to": lambda text: draft(reply_to=(text, "r@example.test")),
    "header value": lambda text: draft(headers={"X-Thing": text}),
    "header name": lambda text: draft(headers={text: "x"}),
    "message id": lambda text: draft(message_id=text),
    "return path": lambda text: draft(envelope_from=text),
    "filename": lambda text: draft(attachments=(Part(text, "image/png", b"x"),)),
    "content type": lambda text: draft(attachments=(Part("x", text, b"x"),)),
    "content id": lambda text: draft(
        html="", attachments=(Part("x", "image/png", b"x", "inline", text),)
    ),
    "disposition": lambda text: draft(attachments=(Part("x", "image/png", b"x", text),)),
    "part header": lambda text: draft(
        attachments=(Part("x", "image/png", b"x", headers={"X-Part": text}),)
    ),
    "alternative": lambda text: draft(alternatives=((text, "x"),)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_no_control_character_gets_into_a_header(place: str, end: str) -> None:
    for trick in (
        f"x{end}Bcc: evil@example.test",
        f"x{end} Bcc: evil@example.test",
        f"x{end}{end}y",
    ):
        with pytest.raises((BadHeader, BadAddress)):
            freeze(PLACES[place](trick), now=NOW)


ENCODED = [
    "=?utf-8?q?x=0d=0aBcc:_evil=40example.test?=",
    "=?utf-8?q?x=0aBcc:_evil=40example.test?=",
    "=?utf-8?b?" + base64.b64encode(b"x\r\nBcc: evil@example.test").decode() + "?=",
    "=?utf-8?q?x?= =?utf-8?q?=0d=0aBcc:_evil=40example.test?=",
]


@pytest.mark.parametrize("trick", ENCODED)
def test_an_encoded_word_is_written_as_the_text_it_is(trick: str) -> None:
    """Whoever gives one gets it back as it is; nobody who decodes the header finds a line end."""
    frozen = freeze(
        draft(subject=trick, sender=(trick, "a@example.test"), headers={"X-Thing": trick}), now=NOW
    )
    message = parsed(frozen)
    assert message["Subject"] == trick
    assert names(frozen, "From") == [trick]
    assert message["X-Thing"] == trick
    assert addresses(frozen) == ["b@example.test"]


BAD_ADDRESSES = [
    "b@example.test, evil@example.test",
    "b@example.test; evil@example.test",
    "Doe, Jane <b@example.test>",
    "b(evil@example.test)@example.test",
    "b@example.test(comment)",
    "Group: b@example.test, evil@example.test;",
    "<evil@example.test> <b@example.test>",
    "x <evil@example.test>, y <b@example.test>",
    "<@relay.test:b@example.test>",
    '"b evil"@example.test',
    "b @example.test",
    "b@exa mple.test",
    "b@example.test>",
    "<b@example.test",
    "b@@example.test",
    "@example.test",
    "b@",
    "b",
    "",
    ".b@example.test",
    "b.@example.test",
    "b@-example.test",
    "b@example..test",
    "b@[300.1.1.1]",
    "=?utf-8?q?evil=40x?=@example.test",
    "b@xn--\u3002.test",
    "b" * 65 + "@example.test",
    "b@" + "x" * 64 + ".test",
    "b@example.test\u00a0",
]


@pytest.mark.parametrize("text", BAD_ADDRESSES)
def test_what_is_not_one_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(MessageError, match="To: "):
        freeze(draft(to=(text,)), now=NOW)
    with pytest.raises(MessageError, match="To: "):
        freeze(draft(to=(("x", text),)), now=NOW)


@pytest.mark.parametrize(
    "name",
    [
        'x" <evil@example.test>, "',
        "x\\",
        'x\\" <evil@example.test>',
        "x, y",
        "a@b.test",
        "(x)",
        ";:",
    ],
)
def test_a_name_stays_a_name(name: str) -> None:
    frozen = freeze(draft(to=((name, "b@example.test"),)), now=NOW)
    found = parsed(frozen)["To"].addresses
    assert [(one.display_name, one.addr_spec) for one in found] == [(name, "b@example.test")]


@pytest.mark.parametrize(
    "header",
    ["From", "to", "CC", "Bcc", "Resent-Bcc", "Subject", "Date", "Content-Type", "MIME-Version"],
)
def test_our_own_headers_cannot_be_given_again(header: str) -> None:
    with pytest.raises(BadHeader, match=header):
        freeze(draft(headers={header: "x@example.test"}), now=NOW)


def test_message_id_and_reply_to_may_come_as_headers_once() -> None:
    given_headers = {"Message-ID": "<m@x>", "Reply-To": "r@example.test"}
    frozen = freeze(draft(headers=given_headers), now=NOW)
    assert (frozen.message_id, frozen.reply_to) == ("<m@x>", "r@example.test")
    with pytest.raises(BadHeader):
        freeze(draft(headers=given_headers, message_id="<n@x>"), now=NOW)


# ---------------------------------------------------------------- messages of the standard library


def test_an_email_message_is_taken_over_and_left_alone() -> None:
    message = standard(
        From="Jörg <a@example.test>",
        Cc='"Doe, J" <c@example.test>',
        Bcc="s@example.test",
        Resent_Bcc="t@example.test",
        Subject="Grüße",
        X_Thing="ü",
    )
    message.add_alternative("<p>ü</p>", subtype="html")
    message.add_attachment(b"123", maintype="application", subtype="pdf", filename="ü.pdf")
    before = message.as_bytes(), message.items()
    frozen = freeze(message, now=NOW)
    assert (message.as_bytes(), message.items()) == before
    assert addresses(frozen) == [f"{who}@example.test" for who in "bcst"]
    got = parsed(frozen)
    assert got["Subject"] == "Grüße"
    assert got["X-Thing"] == "ü"
    assert got["Bcc"] is None
    assert got["Resent-Bcc"] is None
    assert got["From"].addresses[0].display_name == "Jörg"
    assert tree(got) == ("mixed", ("alternative", "text/plain", "text/html"), "application/pdf")
    assert next(got.iter_attachments()).get_filename() == "ü.pdf"
    assert frozen.content.isascii()
    _assert_canonical(frozen.content)


def test_an_old_message_with_encoded_headers_is_read() -> None:
    message = MIMEText("hällo", "plain", "utf-8")
    message["From"] = "=?utf-8?q?J=C3=B6rg?= <a@example.test>"
    message["To"] = "b@example.test,\n\tc@example.test"
    message["Subject"] = Header("Grüße " * 20, "utf-8")  # type: ignore[assignment]
    frozen = freeze(message, now=NOW)
    assert frozen.subject == ("Grüße " * 20).strip()
    assert frozen.from_header == "Jörg <a@example.test>"
    assert addresses(frozen) == ["b@example.test", "c@example.test"]
    assert parsed(frozen).get_content() == "hällo\r\n" or body_text(parsed(frozen)) == "hällo"


def test_a_message_with_raw_octets_is_read() -> None:
    raw = (
        "From: a@example.test\nTo: b@example.test\nSubject: Grüße\n"
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nhällo\n"
    ).encode()
    for how in (policy.default, policy.compat32):
        frozen = freeze(message_from_bytes(raw, policy=how), now=NOW)
        assert frozen.subject == "Grüße"
        assert body_text(parsed(frozen)) == "hällo\n"
        _assert_canonical(frozen.content)


STANDARD_TRICKS = [
    ("Subject", "x\r\nBcc: evil@example.test"),
    ("Subject", "x\nBcc: evil@example.test"),
    ("Subject", "x\rBcc: evil@example.test"),
    ("Subject", "x\r\n \r\nBcc: evil@example.test"),
    ("Subject", "=?utf-8?q?x=0aBcc:_evil=40example.test?="),
    ("Subject", "x\x85Bcc: evil@example.test"),
    ("Subject", "x\u2028Bcc: evil@example.test"),
    ("Subject", "x\0"),
    ("To", "b@example.test\r\nBcc: evil@example.test"),
    ("To", "=?utf-8?q?x=0d=0aBcc:_evil=40example.test?= <b@example.test>"),
    ("X-Thing", "x\n\nbody"),
    ("X-Thing\nBcc", "evil@example.test"),
    ("X Thing", "x"),
    ("Content-Type", "text/plain\r\nBcc: evil@example.test"),
    ("Content-ID", "<x>\nBcc: evil@example.test"),
    ("Message-ID", "<x@y>\nBcc: evil@example.test"),
    ("Message-ID", "<x@y> <z@y>"),
    ("Date", "yesterday"),
    ("From", "a@example.test, evil@example.test"),
    ("To", "not an address"),
]


@pytest.mark.parametrize(("name", "value"), STANDARD_TRICKS)
def test_tricks_in_a_standard_message_are_refused(name: str, value: str) -> None:
    message = Message()
    for own, text in {"From": "a@example.test", "To": "b@example.test"}.items():
        if own != name:
            message[own] = text
    message[name] = value
    message.set_payload("hi\n")
    with pytest.raises(MessageError):
        freeze(message, now=NOW)


def test_a_header_twice_is_refused() -> None:
    message = Message()
    for name in ("From", "To", "To"):
        message[name] = "b@example.test"
    with pytest.raises(BadHeader, match="To: it is there twice"):
        freeze(message, now=NOW)


def test_a_folded_header_stays_one_header() -> None:
    message = Message()
    message["From"] = "a@example.test"
    message["To"] = "b@example.test"
    message["Subject"] = "x\r\n Bcc: evil@example.test"
    frozen = freeze(message, now=NOW)
    assert frozen.subject == "x Bcc: evil@example.test"
    assert addresses(frozen) == ["b@example.test"]
    assert parsed(frozen).keys().count("Bcc") == 0


POLICIES = [policy.compat32, policy.default, policy.SMTP, policy.SMTPUTF8, policy.HTTP]
PHISH = "Bcc: evil@example.test\nReply-To: evil@example.test\nContent-Type: text/html\n\n<b>x</b>\n"
LETTER = "Dear you,\n\nsecond paragraph\n\n\nthird\n"


@pytest.mark.parametrize("how", POLICIES, ids=repr)
@pytest.mark.parametrize("body", [PHISH, LETTER, "\n" + PHISH, "", "\n"], ids=ascii)
def test_the_first_paragraph_of_a_body_is_not_its_head(how: Any, body: str) -> None:
    """A message without content headers has an empty head, and all of the body is body."""
    head = "From: a@example.test\nTo: b@example.test\nSubject: form\n\n"
    made = Message(policy=how)
    for name, value in (("From", "a@example.test"), ("To", "b@example.test")):
        made[name] = value
    made.set_payload(body)
    for message in (message_from_string(head + body, policy=how), made):
        frozen = freeze(message, now=NOW)
        got = message_from_bytes(frozen.content)
        assert addresses(frozen) == ["b@example.test"]
        assert frozen.reply_to == ""
        assert not {"bcc", "reply-to", "content-type"} & {name.lower() for name in got}
        assert str(got.get_payload()).replace("\r\n", "\n") == body


# ---------------------------------------------------------------- bounds


def old(**headers: str) -> Message:
    message = Message()
    for name, value in {"From": "a@example.test", "To": "b@example.test", **headers}.items():
        message[name] = value
    message.set_payload("hi\n")
    return message


LONG = 10**6
TOO_MUCH: dict[str, Callable[[], Draft | Message]] = {
    "subject": lambda: draft(subject="x" * LONG),
    "name": lambda: draft(to=(("x" * LONG, "b@example.test"),)),
    "name in a text": lambda: draft(to=("x" * 3000 + " <b@example.test>",)),
    "address": lambda: draft(to=("x" * LONG,)),
    "header": lambda: draft(headers={"X-Thing": "x" * LONG}),
    "headers": lambda: draft(headers={f"X-{n}": "x" * 6000 for n in range(100)}),
    "file name": lambda: draft(attachments=(Part("x" * LONG, "image/png", b""),)),
    "part header": lambda: draft(
        attachments=(Part("x", "image/png", b"", headers={"X-Thing": "x" * LONG}),)
    ),
    "recipients": lambda: draft(to=("b@example.test",) * 6000, bcc=("c@example.test",) * 6000),
    "encoded words": lambda: old(Subject="=?utf-8?q?a?= " * 50_000),
    "decoded subject": lambda: old(Subject="x" * 6000),
    "long list": lambda: old(To="a:" * 50_000),
    "standard headers": lambda: old(**{f"X-{n}": "x" * 6000 for n in range(100)}),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_would_take_long_is_refused_with_its_size(case: str) -> None:
    with pytest.raises(BadHeader, match=r"[\d,]+ (characters|addresses) and may have [\d,]+; "):
        freeze(TOO_MUCH[case](), now=NOW)


@pytest.mark.parametrize(
    "to",
    [
        ", ".join(f"x{n}@example.test" for n in range(2000)) + '"' * 20_000,
        "a:" * 30_000,
        "(" * 900,
        "(" * 60_000,
        '"' * 60_000,
        ", " * 30_000,
        "   …:",
        "a. " * 20_000 + "<b@example.test>",
    ],
    ids=lambda to: ascii(to[-10:]),
)
def test_what_the_parser_of_addresses_trips_over_is_a_bad_address(to: str) -> None:
    with pytest.raises(BadAddress):
        freeze(old(To=to), now=NOW)


def test_a_lone_surrogate_in_a_standard_message_is_refused() -> None:
    for name in ("From", "To", "Subject", "X-Thing"):
        with pytest.raises(MessageError):
            freeze(old(**{name: "\ud800 <b@example.test>"}), now=NOW)


@pytest.mark.parametrize(
    "item",
    [
        "x@example.test",
        "Jane Doe <x@example.test>",
        '"Doe, Jane" <x@example.test>',
        '"a" <x@example.test>',
        "Jörg <x@example.test>",
        "<x@example.test>",
        "J. Doe <x@example.test>",
        r'"a \"b\"" <x@example.test>',
        "Jane (the one) <x@example.test>",
        "Jane  Doe<x@example.test>",
        "=?utf-8?q?J=C3=B6rg?= <x@example.test>",
        "friends: x@example.test, Y <y@example.test>;",
    ],
)
def test_lists_are_read_as_the_standard_library_reads_them(item: str) -> None:
    raw = f"{item}, z@example.test,\t{item}"
    wanted = HeaderRegistry()("To", raw).addresses  # type: ignore[attr-defined]
    assert read_list(raw, "To") == [(one.display_name, one.addr_spec) for one in wanted]


def test_the_pieces_of_an_encoded_name_are_joined() -> None:
    """RFC 2047 section 6.2, where the standard library leaves a space between them."""
    raw = "=?utf-8?q?J=C3=B6?= =?utf-8?q?rg?= <x@example.test>"
    assert read_list(raw, "To") == [("Jörg", "x@example.test")]


def test_many_recipients_of_a_standard_message_are_read() -> None:
    to = ", ".join(f'"Doe, {n}" <x{n}@example.test>' for n in range(1800))
    assert len(freeze(old(To=to), now=NOW).recipients) == 1800


# ---------------------------------------------------------------- what no server should be given


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: text/plain\n\n",
        "Content-Type: message/rfc822\n\nSubject: inner\n\n",
        "Content-Type: multipart/signed; boundary=b\n\n--b\n\n",
    ],
)
@pytest.mark.parametrize("how", [policy.compat32, policy.default])
def test_a_nul_in_a_standard_message_is_refused(head: str, how: Any) -> None:
    raw = f"From: a@example.test\nTo: b@example.test\n{head}x\0y\n--b--\n"
    with pytest.raises(MessageError, match="NUL"):
        freeze(message_from_string(raw, policy=how), now=NOW)


def test_a_message_with_a_nul_is_attached_in_base64() -> None:
    inner = b"Subject: inner\n\nx\0y\n"
    frozen = freeze(draft(attachments=(Part("m.eml", "message/rfc822", inner),)), now=NOW)
    assert b"\0" not in frozen.content
    assert next(parsed(frozen).iter_attachments()).get_content() == inner


@pytest.mark.parametrize("name", ["Content-Type", "content-transfer-encoding", "Content-ID"])
@pytest.mark.parametrize("how", [policy.compat32, policy.default])
def test_a_content_header_twice_is_refused_in_any_part(name: str, how: Any) -> None:
    twice = f"{name}: text/plain\n{name}: text/html\n\nx\n"
    whole = f"From: a@example.test\nTo: b@example.test\n{twice}"
    mixed = f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{twice}--b--\n"
    part = f"From: a@example.test\nTo: b@example.test\n{mixed}"
    for raw in (whole, part):
        with pytest.raises(MessageError, match="twice"):
            freeze(message_from_string(raw, policy=how), now=NOW)
