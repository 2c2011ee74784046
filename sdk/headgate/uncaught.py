"""Prints one line for errors that only a person can correct: a traceback would hide what to do.

A missing token or address is not a bug of the program. If such an error ends it, Python prints `headgate: …` instead of
a traceback. Debug logging of "headgate" has the traceback. A program with an excepthook of its own keeps that.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from headgate.errors import Forbidden, Misconfigured, Unauthenticated, Unavailable

ONE_LINE = (Misconfigured, Unauthenticated, Forbidden, Unavailable)

log = logging.getLogger("headgate")


def install() -> None:
    """Wrap Python's own excepthook; does nothing if there is another one, or if it is already wrapped."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, ONE_LINE):
        sys.__excepthook__(kind, error, trace)
        return
    log.debug("the program ended with", exc_info=(kind, error, trace))
    sys.stderr.write(f"headgate: {error}\n")
