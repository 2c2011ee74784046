"""What an ACL lacks, from what servers of several versions say."""

from __future__ import annotations

import pytest

from dataplane.redis.acl import denied, lacking, refuses_key

KEYS = [
    "NOPERM this user has no permissions to access one of the keys used as arguments",
    "NOPERM No permissions to access a key",
    "ERR ACL failure in script: No permissions to access a key script: f_1, on @user_script:1.",
    "ERR Error running script: The user executing the script can't access at least one of the keys mentioned",
]


@pytest.mark.parametrize("error", KEYS)
def test_a_key_that_is_refused(error: str) -> None:
    assert refuses_key(error)
    assert lacking(error, "shop:") == "~shop:rate_limit:*"


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        ("NOPERM this user has no permissions to run the 'evalsha' command or its subcommand", "+evalsha"),
        ("NOPERM User gate has no permissions to run the 'cluster|slots' command", "+cluster|slots"),
        ("ERR ACL failure in script: User gate has no permissions to run the 'zadd' command", "+zadd"),
        (
            "ERR Error running script: The user executing the script can't run this command or subcommand",
            "a command that the scripts call",
        ),
    ],
)
def test_a_command_that_is_refused(error: str, rule: str) -> None:
    assert not refuses_key(error)
    assert lacking(error, "") == rule


@pytest.mark.parametrize(
    "error",
    [
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOAUTH Authentication required.",
        "ERR invalid password",
        "ERR Client sent AUTH, but no password is set",
        "ERR AUTH <password> called without any password configured for the default user. Are you sure?",
    ],
)
def test_credentials_that_are_refused(error: str) -> None:
    assert denied(error)
    assert lacking(error, "") == ""


@pytest.mark.parametrize(
    "error", [*KEYS, "LOADING Redis is loading the dataset in memory", "connection lost"]
)
def test_what_is_no_matter_of_credentials(error: str) -> None:
    assert not denied(error)


@pytest.mark.parametrize("error", ["READONLY You can't write against a read only replica.", "WRONGPASS", ""])
def test_any_other_error(error: str) -> None:
    assert not refuses_key(error)
    assert lacking(error, "") == ""
