"""How much a header may hold, so that no message costs more than a moment to freeze.

Owns the limits and their sentences. Must know nothing of how a header is read or written.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask_smtp_admin.errors import BadHeader

# Characters of a subject; of a display name or a file name; of any other header as it is given.
MAX_SUBJECT = 5_000
MAX_NAME = 2_000
MAX_HEADER = 64 * 1024
# Characters of all headers of a message that are not addresses, and of the headers of its parts.
MAX_HEADERS = 256 * 1024
# Addresses in To, Cc, Bcc and Reply-To together.
MAX_ADDRESSES = 10_000


def check_length(name: str, text: object, limit: int) -> None:
    """Refuse a *text* of more than *limit* characters; what is no text is not looked at.

    :raises BadHeader: naming the field and both sizes.
    """
    if isinstance(text, str) and len(text) > limit:
        raise BadHeader(
            f"{name[:80]}: it has {len(text):,} characters and may have {limit:,}; shorten it."
        )


def check_fields(fields: Iterable[tuple[object, object]]) -> None:
    """Refuse headers that are too long, each by itself or all together.

    :raises BadHeader: naming the field, or the sum.
    """
    total = 0
    for name, text in fields:
        check_length(str(name), text, MAX_HEADER)
        total += len(str(name)) + (len(text) if isinstance(text, str) else 0)
    if total > MAX_HEADERS:
        raise BadHeader(
            f"The headers have {total:,} characters and may have {MAX_HEADERS:,}; "
            "send fewer or shorter ones."
        )


def check_count(count: int) -> None:
    """Refuse more than ``MAX_ADDRESSES`` addresses.

    :raises BadHeader: naming both numbers.
    """
    if count > MAX_ADDRESSES:
        raise BadHeader(
            f"The message has {count:,} addresses and may have {MAX_ADDRESSES:,}; "
            "send it as several messages."
        )
