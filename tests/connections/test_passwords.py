"""The two password policies."""

from __future__ import annotations

import pytest

from flask_smtp_admin.connections import passwords


@pytest.mark.parametrize(
    "password",
    ["Kp7!Wz2@Ht", "b9$K2m#X7q&L4v*T6r?Z", "G4*hU8?nR1%w"],
)
def test_strict_takes_what_keeps_every_rule(password: str) -> None:
    assert passwords.is_strict(password)
    assert passwords.objection(password, "strict") == ""


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("Kp7!Wz2@H", "9 characters"),
        ("Kp7!Wz2@HtKp7!Wz2@HtX", "21 characters"),
        ("kp7!wz2@ht", "no upper-case letter"),
        ("KP7!WZ2@HT", "no lower-case letter"),
        ("Kpx!Wzy@Ht", "no digit"),
        ("Kp7-Wz2_Ht", "none of $ ! @ % * # ? &"),
        ("Kp77!Wz2@H", "a digit twice in a row"),
        ("Kpp7!Wz2@H", "a letter twice in a row"),
        ("Kp7!!Wz2@H", "a sign twice in a row"),
        ("Kabc7!Wz2@", "a run of the alphabet"),
        ("KaBc7!Wz2@", "a run of the alphabet in mixed case"),
        ("Kcba7!Wz2@", "a run of the alphabet backwards"),
        ("Kp123!Wz@h", "a run of digits"),
        ("Kp321!Wz@h", "a run of digits backwards"),
        ("Kp890!Wz@h", "a run of the keyboard's digits"),
        ("Kqwe7!Wz2@", "a run of a keyboard row"),
        ("Kewq7!Wz2@", "a run of a keyboard row backwards"),
        ("KAsD7!Wz2@", "a run of the middle row"),
        ("Kzxc7!Wz2@", "a run of the lowest row"),
        ("Kp7!@#Wz2h", "a run of the row of digits with shift"),
    ],
)
def test_strict_refuses(password: str, broken: str) -> None:
    assert not passwords.is_strict(password), broken
    sentence = passwords.objection(password, "strict")
    assert sentence == "The SMTP account password does not meet the rules."
    assert password not in sentence


def test_any_takes_what_providers_hand_out() -> None:
    assert passwords.objection("abcd efgh ijkl mnop", "any") == ""
    assert passwords.objection("x", "any") == ""


def test_no_policy_takes_a_line_break() -> None:
    assert "control character" in passwords.objection("one\r\ntwo", "any")
