"""The demo on this machine, as described in .headgate/demo.json."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from headgate.cli.failure import Failure


def find_demo() -> tuple[str, str, str]:
    """URL, username and password of the demo that runs in this folder or one above."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            facts = json.loads((folder / ".headgate" / "demo.json").read_text())
            return facts["controlplane"], facts["admin_username"], facts["admin_password"]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Failure(f"cannot read {folder}/.headgate/demo.json: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(
                f"{folder}/.headgate/demo.json is damaged: start the demo again with `make demo`"
            ) from error
    raise Failure(
        "no .headgate/demo.json here or above: start the demo with `make demo`, and run this in the same checkout"
    )


def login_command(url: str) -> str:
    """The command that logs in at this URL, which may be that of the demo here."""
    with contextlib.suppress(Failure):
        if find_demo()[0] == url:
            return "headgate login --demo"
    return "headgate login"
