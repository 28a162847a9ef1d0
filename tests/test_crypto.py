"""The key ring: what is stored cannot be read without the key, nor moved, nor lost by a change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_smtp_admin.crypto import WELL_KNOWN_SECRETS, KeyRing
from flask_smtp_admin.errors import ConfigurationError, SecretUnreadable

PLACE = "smtp_admin_connection:1:password"


@given(secret=st.text(), key=st.text(min_size=1))
def test_what_was_encrypted_is_read_back(secret: str, key: str) -> None:
    ring = KeyRing([key])
    token = ring.encrypt(secret, place=PLACE)
    assert ring.decrypt(token, place=PLACE) == secret
    assert token.isascii()


def test_the_token_tells_nothing_and_differs_each_time() -> None:
    ring = KeyRing(["key"])
    one, two = (ring.encrypt("swordfish", place=PLACE) for _ in range(2))
    assert one != two
    assert "swordfish" not in one


def test_a_token_of_another_row_does_not_open() -> None:
    ring = KeyRing(["key"])
    token = ring.encrypt("swordfish", place=PLACE)
    with pytest.raises(SecretUnreadable, match="copied from another connection"):
        ring.decrypt(token, place=PLACE.replace("1", "2"))


@pytest.mark.parametrize("position", [-1, -6, -20, 12, 14])
def test_a_damaged_token_does_not_open(position: int) -> None:
    ring = KeyRing(["key"])
    token = list(ring.encrypt("swordfish" * 3, place=PLACE))
    token[position] = "A" if token[position] != "A" else "B"
    with pytest.raises(SecretUnreadable):
        ring.decrypt("".join(token), place=PLACE)


@pytest.mark.parametrize("token", ["", "v1", "v1.", "v1.abc", "v2.abc.def", "v1..", "plain", "ü"])
def test_what_is_no_token_is_unreadable_and_no_crash(token: str) -> None:
    with pytest.raises(SecretUnreadable):
        KeyRing(["key"]).decrypt(token, place=PLACE)


def test_keys_rotate() -> None:
    old, both, new = KeyRing(["old"]), KeyRing(["new", "old"]), KeyRing(["new"])
    token = old.encrypt("swordfish", place=PLACE)
    assert both.decrypt(token, place=PLACE) == "swordfish"
    assert not both.is_current(token)
    renewed = both.encrypt("swordfish", place=PLACE)
    assert both.is_current(renewed)
    assert new.decrypt(renewed, place=PLACE) == "swordfish"
    with pytest.raises(SecretUnreadable, match="SECRET_KEY_FALLBACKS"):
        new.decrypt(token, place=PLACE)


def test_an_empty_ring_says_what_to_set() -> None:
    ring = KeyRing([])
    with pytest.raises(ConfigurationError, match="set SMTP_ADMIN_KEYS or SECRET_KEY"):
        ring.encrypt("x", place=PLACE)
    with pytest.raises(SecretUnreadable):
        ring.decrypt(KeyRing(["key"]).encrypt("x", place=PLACE), place=PLACE)


def test_the_application_s_secret_key_and_its_fallbacks_are_used() -> None:
    before = KeyRing.from_settings((), "former-and-long-enough")
    token = before.encrypt("swordfish", place=PLACE)
    after = KeyRing.from_settings((), b"newer-and-long-enough", [b"x", "former-and-long-enough"])
    assert after.decrypt(token, place=PLACE) == "swordfish"
    assert not after.is_current(token)


def test_keys_of_its_own_win_over_the_secret_key() -> None:
    own = "a-key-of-its-own"
    ring = KeyRing.from_settings([own], "dev")
    assert KeyRing([own]).decrypt(ring.encrypt("x", place=PLACE), place=PLACE) == "x"


@pytest.mark.parametrize("secret_key", [None, "", b""])
def test_a_missing_secret_key_refuses_to_store_and_says_what_to_do(
    secret_key: str | bytes | None,
) -> None:
    ring = KeyRing.from_settings((), secret_key)
    with pytest.raises(ConfigurationError, match=r"SECRET_KEY is not set.*secrets\.token_hex"):
        ring.encrypt("x", place=PLACE)


@pytest.mark.parametrize("secret_key", [*sorted(WELL_KNOWN_SECRETS), " Dev ", b"secret"])
def test_a_well_known_secret_key_refuses_to_store(secret_key: str | bytes) -> None:
    ring = KeyRing.from_settings((), secret_key)
    with pytest.raises(ConfigurationError, match="everybody knows"):
        ring.encrypt("x", place=PLACE)


@pytest.mark.parametrize("secret", ["1", "a", "12345", "changeme!", "x" * 15, " " * 20 + "x"])
def test_a_short_secret_refuses_to_store_and_says_how_long_it_must_be(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SECRET_KEY has less than 16 .*token_hex"):
        KeyRing.from_settings((), secret).encrypt("x", place=PLACE)
    with pytest.raises(ConfigurationError, match=r"^The first of SMTP_ADMIN_KEYS has less than 16"):
        KeyRing.from_settings([secret], "x" * 16).encrypt("x", place=PLACE)
    assert KeyRing.from_settings((), "x" * 16).encrypt("x", place=PLACE)


def test_a_well_known_key_of_its_own_refuses_to_store() -> None:
    with pytest.raises(ConfigurationError, match="SMTP_ADMIN_KEYS is a value that everybody knows"):
        KeyRing.from_settings(["super secret key"], "x" * 16).encrypt("x", place=PLACE)


def test_a_former_key_may_be_short() -> None:
    token = KeyRing(["old"]).encrypt("swordfish", place=PLACE)
    ring = KeyRing.from_settings(["new-and-long-enough", "old"], None)
    assert ring.decrypt(token, place=PLACE) == "swordfish"
    assert ring.encrypt("x", place=PLACE)


def test_the_secret_key_of_the_quickstart_is_well_known() -> None:
    ring = KeyRing.from_settings((), b'_5#y2L"F4Q8z\n\xec]/')
    with pytest.raises(ConfigurationError, match="everybody knows"):
        ring.encrypt("x", place=PLACE)


def test_what_was_stored_under_a_well_known_key_can_still_be_read() -> None:
    token = KeyRing(["dev"]).encrypt("swordfish", place=PLACE)
    assert KeyRing.from_settings((), "dev").decrypt(token, place=PLACE) == "swordfish"


def test_secrets_are_not_shown() -> None:
    ring = KeyRing(["very-hidden", "well-hidden"])
    assert "hidden" not in repr(ring)
    assert "hidden" not in repr(vars(ring))
