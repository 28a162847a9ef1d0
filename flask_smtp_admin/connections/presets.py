"""The servers of well-known providers, so that nobody has to look them up.

Owns names, hosts, ports and the one remark that saves an hour. Pure data, from the providers' own
help pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask_smtp_admin.models import Encryption


@dataclass(frozen=True)
class Preset:
    """One provider.

    :param username: what to enter as the username, where the provider fixes it.
    :param remark: what people trip over.
    """

    key: str
    name: str
    host: str
    port: int
    encryption: Encryption
    username: str = ""
    remark: str = ""


_STARTTLS, _IMPLICIT = Encryption.STARTTLS, Encryption.IMPLICIT

PRESETS = (
    Preset(
        "gmail",
        "Gmail, Google Workspace",
        "smtp.gmail.com",
        587,
        _STARTTLS,
        remark="The username is the whole address. The account's own password is refused: switch "
        "on 2-step verification and make an app password.",
    ),
    Preset(
        "microsoft365",
        "Microsoft 365",
        "smtp.office365.com",
        587,
        _STARTTLS,
        remark="The username is the whole address. An administrator has to allow "
        "“Authenticated SMTP” for the mailbox.",
    ),
    Preset(
        "ses",
        "Amazon SES",
        "email-smtp.eu-west-1.amazonaws.com",
        587,
        _STARTTLS,
        remark="Put your own region into the host. Username and password are SMTP credentials "
        "made in the SES console, not an access key.",
    ),
    Preset(
        "sendgrid",
        "SendGrid",
        "smtp.sendgrid.net",
        587,
        _STARTTLS,
        username="apikey",
        remark="The username is the word “apikey”, the password is the API key.",
    ),
    Preset(
        "mailgun",
        "Mailgun",
        "smtp.mailgun.org",
        587,
        _STARTTLS,
        remark="Domains in the EU region use smtp.eu.mailgun.org. The username is an SMTP "
        "credential of the sending domain.",
    ),
    Preset(
        "postmark",
        "Postmark",
        "smtp.postmarkapp.com",
        587,
        _STARTTLS,
        remark="The server's API token is both the username and the password.",
    ),
    Preset(
        "brevo",
        "Brevo",
        "smtp-relay.brevo.com",
        587,
        _STARTTLS,
        remark="The username stands under “SMTP & API”; the password is an SMTP key, not the one "
        "of the account.",
    ),
    Preset(
        "mailjet",
        "Mailjet",
        "in-v3.mailjet.com",
        587,
        _STARTTLS,
        remark="The username is the API key, the password is the secret key.",
    ),
    Preset(
        "fastmail",
        "Fastmail",
        "smtp.fastmail.com",
        465,
        _IMPLICIT,
        remark="Needs an app password with access to SMTP.",
    ),
    Preset(
        "icloud",
        "iCloud Mail",
        "smtp.mail.me.com",
        587,
        _STARTTLS,
        remark="Needs an app-specific password.",
    ),
    Preset(
        "zoho",
        "Zoho Mail",
        "smtp.zoho.com",
        465,
        _IMPLICIT,
        remark="The host depends on the region, for instance smtp.zoho.eu. With two-factor "
        "authentication an app password is needed.",
    ),
    Preset(
        "local",
        "A mail server on this machine",
        "localhost",
        25,
        Encryption.NONE,
        remark="Usually without authentication.",
    ),
)

BY_KEY = {preset.key: preset for preset in PRESETS}
