"""File descriptors: as many as the system grants, some kept for upstream connections, and what to do without any."""

from __future__ import annotations

import errno
import logging
import resource
from dataclasses import replace

from dataplane.proxy.bounds import Bounds

RESERVED = 64
"""What a worker needs for itself: its channel, its log, its event loop, its sockets."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of connect that say something of us and nothing of the instance."""

_log = logging.getLogger(__name__)


def within_descriptors(bounds: Bounds) -> Bounds:
    """The bounds, with no more client connections than leave a quarter of the file descriptors to instances.

    Raises the process' limit as far as it is allowed to first.
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
        "fewer connections than set: too few file descriptors",
        extra={"connections": most, "descriptors": hard},
    )
    return replace(bounds, connections=most)
