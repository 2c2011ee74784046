"""Why Redis refuses the gateway, read from the errors that it answers with: its credentials, or what its ACL lacks.

Redis does answer then: it is not away, and trying again helps as little as waiting does. Somebody has to change the
ACL or the credentials.
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
    """Whether it is about the key that was asked for: others may be allowed."""
    return refused(error) and _COMMAND.search(error) is None


def lacking(error: str, prefix: str) -> str:
    """What is missing in the ACL, as an ACL rule says it where that is known; empty when the error says nothing of the
    kind. `prefix` stands before every key."""
    if not refused(error):
        return ""
    command = _COMMAND.search(error)
    if command is None:
        return f"~{prefix}rate_limit:*"
    return f"+{command[1]}" if command[1] else "a command that the scripts call"
