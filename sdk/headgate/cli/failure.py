"""What ends a command: a line for the person who typed it."""

from __future__ import annotations


class Failure(Exception):
    """Printed as `headgate: …` on stderr; the process ends with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        """The message says what to do where that is known."""
        super().__init__(message)
        self.exit_code = exit_code
