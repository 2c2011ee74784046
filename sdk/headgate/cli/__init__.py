"""The command `headgate`: the admin API for people and scripts.

Nothing here is imported by `import headgate`: it needs the extra `headgate-sdk[cli]`.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

_EXTRA = ("httpx", "rich", "typer", "yaml")
_NAME = "headgate"
"""In usage, and in the variables by which shells ask for completions: also with `python -m headgate.cli`."""


def main() -> None:
    """Run the command line; say how to install it when its extra is missing."""
    if os.getpid() == 1:
        # PID 1 of a container gets no signal that it has no handler for. `headgate register` sets its own later.
        signal.signal(signal.SIGTERM, _end)
    # Python sets these to None when they are closed, as `<&-` and `>&-` do.
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that the encoding of a terminal or file lacks must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from headgate.cli.app import app
    except KeyboardInterrupt:
        sys.stderr.write("headgate: interrupted\n")
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit("headgate: the command line is an extra; install it with: pip install 'headgate-sdk[cli]'")
    if os.environ.get("_HEADGATE_COMPLETE") == "complete_bash":
        from headgate.cli.colons import kept_together

        with kept_together(os.environ):
            app(prog_name=_NAME)
    app(prog_name=_NAME)


def _end(number: int, _: object) -> NoReturn:
    """End as other processes do. An exception could be lost: imports run callbacks that swallow it."""
    os._exit(128 + number)
