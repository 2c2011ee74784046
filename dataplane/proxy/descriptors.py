"""File descriptors: raises the limit, reserves some for upstream connections, and detects exhaustion."""

from __future__ import annotations

import errno
import logging
import resource
from dataclasses import replace

from dataplane.proxy.bounds import Bounds

RESERVED = 64
"""Descriptors for the worker itself: its channel, its log, its event loop, its sockets."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of connect() that are caused by this process or machine, not by the instance."""

_log = logging.getLogger(__name__)


def within_descriptors(bounds: Bounds) -> Bounds:
    """The bounds, with client connections limited to three quarters of the file descriptors.

    First raises the process' soft limit to the hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return bounds
    most = max(1, (hard - RESERVED) * 3 // 4)
    if most >= bounds.connections:
        return bounds
    _log.warning(
        "fewer connections than configured: the process may open too few files",
        extra={"connections": most, "descriptors": hard},
    )
    return replace(bounds, connections=most)
