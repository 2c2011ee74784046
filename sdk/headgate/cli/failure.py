"""The failure that ends a command: a line for the person who typed it, and an exit code for scripts."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
"""Nothing was written. For `diff`, 1 means that there is a difference, and 2 that the comparison failed."""
USAGE: Final = 2
"""The command line itself is wrong; nothing was sent."""
NOT_SERVED: Final = 3
"""The change is written, but the data planes do not serve it, or it is unknown whether they do."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells report it (128 + SIGINT)."""

CLOSED_PIPE: Final = 141
"""The reader of the output, such as `head`, has ended (128 + SIGPIPE)."""


class Failure(Exception):
    """Printed as `headgate: …` on stderr; the process ends with `exit_code`."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        """The message says what to do if that is known. --verbose shows its cause (`raise … from`)."""
        super().__init__(message)
        self.exit_code = exit_code


class Absent(Failure):
    """The resource that was named does not exist."""
