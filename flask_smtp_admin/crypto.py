"""The key ring: stored secrets are encrypted with the newest key, and decrypted with any.

Owns the format of an encrypted secret. Must not know where secrets are stored.

A token is ``v1.<key id>.<base64 of nonce and ciphertext>``. The cipher is AES-256-GCM (NIST SP
800-38D); the key comes from the configured secret by HKDF-SHA-256 (RFC 5869). The *place* of a
secret (table, row and field) goes in as associated data, so that a token copied to another row
does not decrypt there.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import ConfigurationError, SecretUnreadable

_VERSION = "v1"
_NONCE_BYTES = 12
_KEY_ID_BYTES = 4

WELL_KNOWN_SECRETS = frozenset(
    {"dev", "development", "secret", "secret-key", "secret_key", "changeme", "change-me"}
    | {"test", "testing", "password", "your-secret-key", "super-secret", "supersecret"}
    | {
        "super secret key",
        "your_secret_key",
        "my-secret-key",
        "mysecretkey",
        "you-will-never-guess",
    }
    # From Flask's own documentation: the page on configuration, and the quickstart, as a text and
    # as the bytes that it is there.
    | {"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf"}
    | {'_5#y2l"f4q8z\n\xec]/', '_5#y2l"f4q8z\n\ufffd]/'}
)
"""Values of ``SECRET_KEY`` from tutorials: whoever reads the database would guess them first."""
SHORTEST_SECRET = 16
"""Characters. What is shorter can be tried out by whoever reads the database."""


@dataclass(frozen=True)
class _Key:
    key_id: str
    cipher: AESGCM = field(repr=False)


class KeyRing:
    """Encrypts and decrypts secrets.

    :param secrets: texts that keys are derived from, the newest first. May be empty: then nothing
        can be stored, and the error says what to set.
    :param refusal: why nothing may be encrypted with these secrets; they still decrypt.
    """

    def __init__(self, secrets: Iterable[str | bytes], *, refusal: str = "") -> None:
        self._keys = [_derive(secret) for secret in secrets]
        self._refusal = refusal
        if not self._keys and not refusal:
            self._refusal = "No key is configured: set SMTP_ADMIN_KEYS or SECRET_KEY."

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(key.key_id for key in self._keys) or 'empty'}>"

    def encrypt(self, secret: str, *, place: str) -> str:
        """Return the token of ``secret``, to be stored at ``place``.

        :raises ConfigurationError: no safe key is configured; the message says what to set.
        """
        if self._refusal:
            raise ConfigurationError(self._refusal)
        key = self._keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = key.cipher.encrypt(nonce, secret.encode("utf-8"), place.encode("utf-8"))
        return f"{_VERSION}.{key.key_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, token: str, *, place: str) -> str:
        """Return the secret of ``token``.

        :raises SecretUnreadable: no configured key fits, the token belongs to another place, or it
            is damaged. The stored token must be kept: the right key may come back.
        """
        version, _, rest = token.partition(".")
        key_id, _, payload = rest.partition(".")
        if version == _VERSION:
            for key in self._keys:
                if key.key_id == key_id:
                    return _open(key, payload, place)
        raise SecretUnreadable(
            "The stored password was encrypted with a key that is not configured any more. "
            "Put the former key back (SMTP_ADMIN_KEYS or SECRET_KEY_FALLBACKS), or enter the "
            "password again."
        )

    def is_current(self, token: str) -> bool:
        """Tell whether ``token`` was made with the newest key."""
        return bool(self._keys) and token.startswith(f"{_VERSION}.{self._keys[0].key_id}.")

    @classmethod
    def from_settings(
        cls,
        keys: Iterable[str],
        secret_key: str | bytes | None,
        fallbacks: Iterable[str | bytes] = (),
    ) -> KeyRing:
        """Make the ring from ``SMTP_ADMIN_KEYS`` or, where that is empty, from ``SECRET_KEY``.

        A secret that is missing, well known or short still gives a ring, so that the pages work
        and what was stored can be read; it refuses to encrypt.
        """
        own = list(keys)
        if own:
            return cls(own, refusal=_refusal(own[0], "the first of SMTP_ADMIN_KEYS"))
        return cls(
            [secret for secret in (secret_key, *fallbacks) if secret],
            refusal=_refusal(secret_key, "SECRET_KEY"),
        )


def _refusal(secret: str | bytes | None, setting: str) -> str:
    """Say why a secret must not protect passwords, or nothing when it may."""
    text = secret.decode("utf-8", "replace") if isinstance(secret, bytes) else secret
    if not text:
        reason = f"{setting} is not set"
    elif text.strip().lower() in WELL_KNOWN_SECRETS:
        reason = f"{setting} is a value that everybody knows"
    elif len(text.strip()) < SHORTEST_SECRET:
        reason = f"{setting} has less than {SHORTEST_SECRET} characters, so it can be guessed"
    else:
        return ""
    other = ", or set SMTP_ADMIN_KEYS" if setting == "SECRET_KEY" else ""
    return (
        f"{reason[0].upper()}{reason[1:]}, and no password can be stored safely. Set {setting} to the output of "
        f"python -c 'import secrets; print(secrets.token_hex())' and keep it{other}."
    )


def _derive(secret: str | bytes) -> _Key:
    raw = secret.encode("utf-8") if isinstance(secret, str) else secret

    def hkdf(length: int, info: bytes) -> bytes:
        return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(raw)

    cipher = AESGCM(hkdf(32, b"flask-smtp-admin v1 secrets"))
    return _Key(hkdf(_KEY_ID_BYTES, b"flask-smtp-admin v1 key id").hex(), cipher)


def _open(key: _Key, payload: str, place: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(payload.encode("ascii"))
        plain = key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode("utf-8"))
    except (InvalidTag, binascii.Error, UnicodeError, ValueError):
        raise SecretUnreadable(
            "The stored password is damaged, or was copied from another connection. "
            "Enter the password again."
        ) from None
    return plain.decode("utf-8")
