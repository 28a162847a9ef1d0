"""Freezing a message: from what the caller wrote to the bytes that every attempt will send.

Owns what a message needs: a sender, recipients, a Message-ID, a Date, and headers that are read
back as they were meant. Must know neither database nor Flask, and no clock: the time is an argument.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.message import Message
from types import MappingProxyType
from typing import Literal, NamedTuple

from flask_smtp_admin.errors import (
    BadHeader,
    MessageError,
    MessageTooLarge,
    NoRecipients,
)
from flask_smtp_admin.smtp import headers, standard
from flask_smtp_admin.smtp.bodies import Attached, Body, body_of, field_lines
from flask_smtp_admin.smtp.bounds import MAX_SUBJECT, check_count, check_fields, check_length
from flask_smtp_admin.smtp.mailaddress import Address, MailAddress, read_address
from flask_smtp_admin.smtp.readback import check_read_back

RecipientKind = Literal["to", "cc", "bcc"]

MAX_BYTES = 25 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """An attachment, or with a ``content_id`` an inline part of the HTML.

    ``content_id`` may be given with or without angle brackets. ``headers`` are extra headers of
    the part.
    """

    filename: str | None
    content_type: str
    data: bytes
    disposition: str = "attachment"
    content_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Draft(NamedTuple):
    """A message before it is frozen. An address is ``"a@b"``, ``"Name <a@b>"`` or ``(name, address)``.

    ``alternatives`` are further forms of the text: (media type, content), the richest last.
    ``envelope_from`` is the return path when it is not the sender's address.
    """

    subject: str = ""
    sender: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: Address | tuple[Address, ...] | None = None
    text: str | None = None
    html: str | None = None
    alternatives: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Part, ...] = ()
    headers: Mapping[str, str] = MappingProxyType({})
    date: datetime | None = None
    message_id: str | None = None
    envelope_from: str | None = None


class FrozenRecipient(NamedTuple):
    """One envelope recipient: ``address`` with an A-label domain, and the name it was given."""

    address: str
    kind: RecipientKind
    name: str = ""


@dataclass(frozen=True)
class FrozenMessage:
    """A message as every attempt will send it; nothing of it changes any more.

    ``content`` has CRLF line ends and no Bcc. ``sender`` is the envelope's. ``automated``: it
    carries an ``Auto-Submitted`` header other than ``no`` (RFC 3834).
    """

    message_id: str
    date: datetime
    content: bytes
    sender: str
    from_header: str
    reply_to: str
    subject: str
    recipients: tuple[FrozenRecipient, ...]
    smtputf8: bool
    eight_bit: bool
    automated: bool

    @property
    def size(self) -> int:
        """Octets of the content."""
        return len(self.content)


def freeze(
    message: Draft | Message,
    *,
    now: datetime,
    max_bytes: int = MAX_BYTES,
    default_sender: Address | None = None,
) -> FrozenMessage:
    """Make the bytes, the envelope and the facts of *message*, which is not changed.

    *now* (aware) is the date of a message that has none.

    :raises NoRecipients: when To, Cc and Bcc are empty.
    :raises BadHeader: for a control character, a header that would not be read back as meant, or
        more than :mod:`flask_smtp_admin.smtp.bounds` allows.
    :raises BadAddress: for an address that no server would take.
    :raises MessageTooLarge: above *max_bytes*.
    :raises MessageError: without a sender and a *default_sender*.
    """
    try:
        if isinstance(message, Draft):
            _refuse_size(sum(len(part.data) for part in message.attachments), max_bytes)
            plan = _plan_of_draft(message, now, default_sender)
        else:
            plan = _plan_of_message(message, now, default_sender)
        return _write(plan, max_bytes)
    except UnicodeEncodeError as error:
        raise MessageError(
            "The message holds a character that is half of a pair (a lone surrogate), which no "
            "encoding can carry; decode the text it comes from correctly."
        ) from error


@dataclass
class _Plan:
    """What a message consists of, whatever it was made from."""

    sender: MailAddress
    return_path: str
    to: list[MailAddress]
    cc: list[MailAddress]
    bcc: list[MailAddress]
    reply_to: list[MailAddress]
    subject: str
    date: datetime
    message_id: str
    body: Body
    extra: list[tuple[str, str]]
    undisclosed: bool = False


# ----------------------------------------------------------------- from a draft

# What a draft has a field of its own for, and what only the sending side may write.
_OWN_FIELDS = frozenset(
    {"from", "to", "cc", "bcc", "resent-bcc", "subject", "date", "return-path", "mime-version"}
    | {"content-type", "content-transfer-encoding"}
)


def _plan_of_draft(draft: Draft, now: datetime, default_sender: Address | None) -> _Plan:
    given = draft.sender or default_sender
    if not given:
        raise _no_sender()
    sender = read_address(given, "From")
    check_length("Subject", draft.subject, MAX_SUBJECT)
    check_fields(draft.headers.items())
    check_count(sum(map(len, (draft.to, draft.cc, draft.bcc, _several(draft.reply_to)))))
    extra, message_id, reply_to = [], draft.message_id, draft.reply_to
    for name, value in draft.headers.items():
        lower = headers.check_name(name).lower()
        if lower in _OWN_FIELDS:
            raise BadHeader(f"{name}: give it as the message's own field, not among its headers.")
        if lower == "message-id" and message_id is None:
            message_id = value
        elif lower == "reply-to" and not reply_to:
            reply_to = value
        elif lower in {"message-id", "reply-to"}:
            raise BadHeader(f"{name}: it is given twice.")
        else:
            extra.append((name, value))
    return _Plan(
        sender=sender,
        return_path=_return_path(draft.envelope_from, sender),
        to=_read_all(draft.to, "To"),
        cc=_read_all(draft.cc, "Cc") if draft.cc else [],
        bcc=_read_all(draft.bcc, "Bcc") if draft.bcc else [],
        reply_to=_read_all(_several(reply_to), "Reply-To") if reply_to else [],
        subject=headers.check_text("Subject", draft.subject or ""),
        date=draft.date or now,
        message_id=_message_id(message_id, sender),
        body=body_of(
            draft.text,
            draft.html,
            draft.alternatives,
            [
                Attached(p.filename, p.content_type, p.data, p.disposition, p.content_id, p.headers)
                for p in draft.attachments
            ],
        ),
        extra=extra,
    )


def _several(given: Address | Sequence[Address] | None) -> Sequence[Address]:
    """One address or several as several; a pair of texts without an @ in the first is one."""
    if not given:
        return ()
    if isinstance(given, str):
        return (given,)
    pair = len(given) == 2 and all(isinstance(text, str) for text in given)
    if pair and "@" not in str(given[0]):
        return ((str(given[0]), str(given[1])),)
    return tuple(given)


def _read_all(given: Iterable[Address], field_name: str) -> list[MailAddress]:
    if isinstance(given, str):
        given = (given,)
    return [read_address(address, field_name) for address in given]


def _no_sender() -> MessageError:
    return MessageError(
        "The message has no sender: set one, or MAIL_DEFAULT_SENDER in the configuration."
    )


def _return_path(envelope_from: str | None, sender: MailAddress) -> str:
    if envelope_from is None:
        return sender.spec
    if envelope_from in {"", "<>"}:
        return ""
    return read_address(envelope_from, "envelope sender").spec


_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")


def _message_id(given: str | None, sender: MailAddress) -> str:
    if given is None:
        domain = sender.domain if not sender.domain.startswith("[") else "localhost"
        # It begins with the time, so that new ones come to lie beside each other in the index.
        return f"<{time.time_ns() >> 20:x}.{secrets.token_hex(12)}@{domain}>"
    given = headers.check_text("Message-ID", given)
    bracketed = given if given.startswith("<") else f"<{given}>"
    if not _MESSAGE_ID.fullmatch(bracketed) or len(bracketed) > 250:
        raise BadHeader(f"Message-ID: {given!r} is not of the form <unique@domain>.")
    return bracketed


# ----------------------------------------------------------------- from a standard message


def _plan_of_message(message: Message, now: datetime, default_sender: Address | None) -> _Plan:
    taken = standard.take_apart(message)
    check_length("Subject", taken.text("subject"), MAX_SUBJECT)
    senders = taken.addresses("from")
    if not senders:
        if not default_sender:
            raise _no_sender()
        senders = [read_address(default_sender, "From")]
    acting = taken.addresses("sender")
    extra = taken.others()
    if len(senders) > 1:
        # RFC 5322 section 3.6.2: several authors need a Sender; it also gets the notices.
        raise MessageError("The message has several From addresses; name one.")
    return _Plan(
        sender=senders[0],
        return_path=(acting or senders)[0].spec,
        to=taken.addresses("to"),
        cc=taken.addresses("cc"),
        bcc=taken.addresses("bcc") + taken.addresses("resent-bcc"),
        reply_to=taken.addresses("reply-to"),
        subject=taken.text("subject"),
        date=taken.date() or now,
        message_id=_message_id(taken.text("message-id") or None, senders[0]),
        body=taken.body,
        extra=extra,
        undisclosed=taken.undisclosed,
    )


# ----------------------------------------------------------------- writing and reading back


def _write(plan: _Plan, max_bytes: int) -> FrozenMessage:
    check_count(sum(map(len, (plan.to, plan.cc, plan.bcc, plan.reply_to))))
    recipients = _recipients(plan)
    if not recipients:
        raise NoRecipients("The message has no recipient: name somebody in To, Cc or Bcc.")
    utf8 = not all(
        address.local.isascii()
        for address in (plan.sender, *plan.to, *plan.cc, *plan.bcc, *plan.reply_to)
    )
    fields = _fields(plan, utf8=utf8)
    head = field_lines(fields)
    check_read_back(head, fields)
    content = head + b"\r\n" + plan.body.data
    _refuse_size(len(content), max_bytes)
    automated = next((v for n, v in plan.extra if n.lower() == "auto-submitted"), "no")
    return FrozenMessage(
        message_id=plan.message_id,
        date=_aware(plan.date).astimezone(timezone.utc),
        content=content,
        sender=plan.return_path,
        from_header=str(plan.sender),
        reply_to=", ".join(map(str, plan.reply_to)),
        subject=plan.subject,
        recipients=recipients,
        smtputf8=utf8 or not plan.return_path.isascii(),
        eight_bit=not content.isascii(),
        automated=automated.partition(";")[0].strip().lower() != "no",
    )


def _recipients(plan: _Plan) -> tuple[FrozenRecipient, ...]:
    """Everybody once; who is in To and in Bcc is seen by all anyhow, so To counts."""
    found: dict[str, FrozenRecipient] = {}
    kinds: tuple[tuple[RecipientKind, list[MailAddress]], ...] = (
        ("to", plan.to),
        ("cc", plan.cc),
        ("bcc", plan.bcc),
    )
    for kind, addresses in kinds:
        for address in addresses:
            found.setdefault(address.key, FrozenRecipient(address.spec, kind, address.name))
    return tuple(found.values())


def _fields(plan: _Plan, *, utf8: bool) -> list[tuple[str, str]]:
    fields = [("From", headers.address_list("From", [plan.sender], utf8=utf8))]
    for name, addresses in (("Reply-To", plan.reply_to), ("To", plan.to), ("Cc", plan.cc)):
        if addresses:
            fields.append((name, headers.address_list(name, addresses, utf8=utf8)))
    if plan.undisclosed and not plan.to:
        fields.append(("To", "undisclosed-recipients:;"))
    fields += [
        ("Subject", headers.unstructured("Subject", plan.subject, utf8=utf8)),
        ("Date", headers.date_time(_aware(plan.date))),
        ("Message-ID", plan.message_id),
    ]
    fields += [(name, headers.unstructured(name, value, utf8=utf8)) for name, value in plan.extra]
    fields.append(("MIME-Version", "1.0"))
    return fields + plan.body.headers


def _aware(date: datetime) -> datetime:
    """*date*, taken as UTC when it names no zone."""
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def _refuse_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise MessageTooLarge(
            f"The message has {size / 2**20:.1f} MiB and may have {max_bytes / 2**20:.1f} MiB: "
            "send less, or a link instead of the attachment."
        )
