"""Common parts of the helpers for servers (asgi, wsgi, grpc_server, `headgate register`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TypedDict

from headgate.models import ServiceDefinition

Token = str | Callable[[], str]


class Options(TypedDict, total=False):
    """Options that every helper passes on to `headgate.register`, which documents them."""

    host: str | None
    port: int | None
    instance_id: str | None
    weight: int
    metadata: Mapping[str, str] | None
    ttl: float
    on_change: Callable[[bool], None] | None
    wait: bool | float
    drain: bool | float
    controlplane: str | None
    token: Token | None
    ca: str | os.PathLike[str] | None
    cert: str | os.PathLike[str] | None
    key: str | os.PathLike[str] | None
    insecure: bool | None


def definition_of(service: ServiceDefinition | str) -> ServiceDefinition:
    """A name alone means a service with the default settings; an existing service keeps its own."""
    return service if isinstance(service, ServiceDefinition) else ServiceDefinition(service_name=service)


def show_log() -> None:
    """Send the log of this package to standard error, unless the program has configured logging.

    Servers configure only their own loggers, but the result of the registration should be visible.
    """
    log = logging.getLogger("headgate")
    if log.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("headgate: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
