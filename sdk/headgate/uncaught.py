"""One line for errors that only a person can mend: a traceback would hide what to do.

A missing token or address is no fault of the program's, so where such an error ends it, Python prints `headgate: …`
instead of a traceback. Debug logging of "headgate" has it. A program with an excepthook of its own keeps that.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from headgate.errors import Forbidden, Misconfigured, Unauthenticated, Unavailable

ONE_LINE = (Misconfigured, Unauthenticated, Forbidden, Unavailable)

log = logging.getLogger("headgate")


def install() -> None:
    """Stand before Python's own excepthook; does nothing when there is another one, or when it stands there already."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, ONE_LINE):
        sys.__excepthook__(kind, error, trace)
        return
    log.debug("the program ended with", exc_info=(kind, error, trace))
    sys.stderr.write(f"headgate: {error}\n")
