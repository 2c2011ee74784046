"""The command `headgate`: the admin API for people and scripts.

Nothing here is imported by `import headgate`: it needs the extra `headgate-sdk[cli]`.
"""

from __future__ import annotations

import sys

_EXTRA = ("httpx", "rich", "typer", "yaml")


def main() -> None:
    """Run the command line; say how to install it when its extra is missing."""
    try:
        from headgate.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit("headgate: the command line is an extra; install it with: pip install 'headgate-sdk[cli]'")
    app()
