"""The errors of flask-smtp-admin.

Owns every exception class that a caller may meet. Each says, in the message it is raised with, what
to do about it. Must know nothing of the rest of the package.

What a mail server answers is never an exception here: outcomes are values. An exception means that
the call was wrong, that the configuration is wrong, or that the database cannot be reached.
"""

from __future__ import annotations

from collections.abc import Mapping


class SMTPAdminError(Exception):
    """The parent of every error that this package raises on purpose."""


class ConfigurationError(SMTPAdminError):
    """A setting of the application is missing or wrong; the message names the key and the remedy."""


class NotInitializedError(SMTPAdminError):
    """The extension was used outside an application context, or on an app without it."""


class OutboxUnavailable(SMTPAdminError):
    """The outbox tables cannot be reached or do not exist; nothing was stored."""


class MessageError(SMTPAdminError, ValueError):
    """The message cannot be sent as it is; nothing was stored."""


class NoRecipients(MessageError):
    """The message names nobody in To, Cc or Bcc."""


class BadHeader(MessageError):
    """A header or an address holds a control character, or would not survive being read again."""


class BadAddress(MessageError):
    """An address is not one that a mail server would accept."""


class MessageTooLarge(MessageError):
    """The message is larger than ``SMTP_ADMIN_MAX_MESSAGE_BYTES``."""


class UnknownConnection(SMTPAdminError, LookupError):
    """No connection has that caption or number."""


class ConnectionRefused(SMTPAdminError, ValueError):
    """A change to a connection breaks a rule, for instance that one enabled connection must remain."""


class InvalidConnection(ConnectionRefused):
    """Fields of a connection break their rules; ``errors`` has the sentence of each, by name."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {sentence}" for name, sentence in errors.items()))
        self.errors = dict(errors)


class DeliveryRefused(SMTPAdminError):
    """Raised by a driver of the host: the other side does not take the message.

    :param code: as in SMTP, 400 to 499 for "try again later", 500 to 599 for "never".
    """

    def __init__(self, code: int, text: str) -> None:
        if not 400 <= code <= 599:
            raise ValueError(f"{code} is no refusal; use a code from 400 to 599.")
        super().__init__(text)
        self.code = code


class SecretUnreadable(SMTPAdminError):
    """A stored password was encrypted with a key that is no longer configured."""


class SecretMissing(SecretUnreadable):
    """A connection logs in to its server, and no password is stored for it."""
