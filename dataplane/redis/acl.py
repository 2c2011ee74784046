"""The reason why Redis refuses the gateway, derived from its errors: wrong credentials, or a missing ACL rule.

Redis answers, so neither retries nor waiting help: an operator must change the ACL or the credentials.
"""

from __future__ import annotations

import re
from typing import Final

_REFUSED: Final = ("NOPERM", "ACL failure in script", "The user executing the script can't")
"""Of a command; of what a script calls, by Redis 7 and later, and before."""
_COMMAND: Final = re.compile(r"permissions to run the '([^']+)' command|(can't run this command)")


_DENIED: Final = (
    "WRONGPASS",
    "NOAUTH",
    "ERR invalid password",
    "ERR Client sent AUTH",
    "ERR AUTH <password> called",
)
"""Since Redis 6; without a password; before Redis 6; and a password that the server has no use for, in both."""


def denied(error: str) -> bool:
    """Whether our user or password is refused, or one is missing."""
    return error.startswith(_DENIED)


def refused(error: str) -> bool:
    """Whether the error is one of the ACL's."""
    return any(words in error for words in _REFUSED)


def refuses_key(error: str) -> bool:
    """Whether it concerns the requested key: others may be allowed."""
    return refused(error) and _COMMAND.search(error) is None


def lacking(error: str, prefix: str) -> str:
    """The missing ACL rule, if it is known; empty when the error does not name one. `prefix` precedes every key."""
    if not refused(error):
        return ""
    command = _COMMAND.search(error)
    if command is None:
        return f"~{prefix}rate_limit:*"
    return f"+{command[1]}" if command[1] else "a command that the scripts call"
