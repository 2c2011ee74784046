"""The messages around spans, log records and metrics: the resource that they are about, and the scope.

    Export…ServiceRequest { resource_… { resource, scope_… { scope, ITEMS }, schema_url } }

The fields have the same numbers for all signals. ITEMS are fields `spans`, `log_records` or `metrics`, as bytes.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from dataplane.telemetry.attributes import key_values
from dataplane.telemetry.otlp import sized

SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
"""Of the conventions that the attributes follow."""


class Envelope:
    """Wraps items for export."""

    def __init__(self, resource: Resource, version: str) -> None:
        """`version` is that of this program."""
        self._resource = ResourceSpans(resource=resource, schema_url=SCHEMA).SerializeToString()
        scope = InstrumentationScope(name="headgate.dataplane", version=version)
        self._scope = ScopeSpans(scope=scope).SerializeToString()

    def wrap(self, items: Iterable[bytes]) -> bytes:
        """The whole message."""
        scoped = self._scope + b"".join(items)
        return sized(b"\x0a", self._resource + sized(b"\x12", scoped))


def describe(node: str, version: str, more: Iterable[tuple[str, str]]) -> Resource:
    """The resource: what this process knows itself, and `more`, which wins."""
    known = {
        "service.version": version,
        "service.instance.id": node,
        "host.name": socket.gethostname(),
        "telemetry.sdk.name": "headgate",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": version,
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
        **dict(more),
    }
    return Resource(attributes=key_values(known.items()))
