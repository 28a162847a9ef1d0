"""The message that every contender sends: about 2 KB, text and HTML.

Must not know any contender.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

SENDER = "shop@example.org"
RECIPIENT = "customer@example.org"
TEXT = "Hello,\n\n" + "your order has been shipped and will arrive soon.\n" * 12
HTML = (
    "<html><body>\n"
    + "<p>your order has been shipped and will arrive soon.</p>\n" * 18
    + "</body></html>\n"
)


def subject(number: int) -> str:
    """Return the subject of a message; no two are the same."""
    return f"Order {number}"


def prebuilt() -> bytes:
    """Return one message as the bytes that go over the wire."""
    built = EmailMessage(policy=SMTP)
    built["Subject"] = subject(1)
    built["From"] = SENDER
    built["To"] = RECIPIENT
    built.set_content(TEXT)
    built.add_alternative(HTML, subtype="html")
    return built.as_bytes()
