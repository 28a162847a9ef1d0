"""The messages that the shop writes.

Owns their words and parts. Must not know how they are sent.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formataddr
from pathlib import Path

from flask_mail import Message

SHOP = ("Garden Shop", "shop@example.org")
LOGO = Path(__file__).with_name("static") / "logo.png"
LOGO_ID = "logo@shop.example.org"

PRICES = "article;price\r\nTulip bulbs, 10;4.50\r\nWatering can;12.00\r\nGarden gloves;7.90\r\n"


def welcome(to: str) -> Message:
    """Return a message with all parts: text, HTML, an inline image, an attachment."""
    message = Message(
        "Welcome to the Garden Shop, grüß Gott!",
        recipients=[to],
        body=(
            "Welcome!\n\nThank you for joining. Our price list is attached.\n\n"
            "Until soon,\nyour Garden Shop\n"
        ),
        html=(
            "<!doctype html><html lang='en'><body style='font-family: sans-serif; color: #26382b'>"
            f"<p><img src='cid:{LOGO_ID}' alt='' width='72' height='72'></p>"
            "<h1 style='font-size: 1.4rem'>Welcome!</h1>"
            "<p>Thank you for joining. Our price list is attached.</p>"
            "<p>Until soon,<br>your Garden Shop</p></body></html>"
        ),
    )
    message.attach(
        "logo.png",
        "image/png",
        LOGO.read_bytes(),
        disposition="inline",
        headers={"Content-ID": f"<{LOGO_ID}>"},
    )
    message.attach("prices.csv", "text/csv", PRICES)
    return message


def password_reset(to: str, token: str) -> EmailMessage:
    """Return a plain message of the standard library, which ``send`` takes, too."""
    message = EmailMessage()
    message["From"] = formataddr(SHOP)
    message["To"] = to
    message["Subject"] = "Your new password"
    message.set_content(
        "Somebody, hopefully you, asked for a new password.\n\n"
        f"Choose one within 30 minutes: https://shop.example.org/password/{token}\n"
    )
    return message


def newsletter(to: str, number: int) -> Message:
    """Return one copy of the newsletter."""
    return Message(
        f"Garden news {number}: what to plant now",
        recipients=[to],
        body="Bulbs want to be in the ground before the first frost.\n",
        extra_headers={"Auto-Submitted": "auto-generated", "Precedence": "bulk"},
    )


def confirmation(to: str, order_number: int, item: str) -> Message:
    """Return what a customer gets for an order."""
    return Message(
        f"Your order {order_number}",
        recipients=[to],
        body=f"We received your order {order_number}: {item}. It leaves tomorrow.\n",
    )


def note(to: str) -> Message:
    """Return a short message, for addresses that the mail server does not take."""
    return Message("Your parcel is on its way", recipients=[to], body="It arrives tomorrow.\n")
