"""Waits until data planes send requests to an instance, or no longer do. The control plane does the waiting."""

from __future__ import annotations

from collections.abc import Iterable

from headgate.errors import InvalidDefinition, NotRegistered, Stragglers
from headgate.transport import CALL_TIMEOUT, NotFound, Transport
from headgate_api.v1 import registry_pb2

DEFAULT_WAIT = 30.0
"""Seconds that `True` stands for."""

Wait = bool | float
"""Whether to wait, or for how many seconds at most (up to 300)."""


def seconds(wait: Wait) -> float:
    """The longest wait in seconds; 0 for none. Raises InvalidDefinition."""
    if isinstance(wait, bool):
        return DEFAULT_WAIT if wait else 0.0
    if not 0 <= wait <= 300:
        raise InvalidDefinition([f"wait: {wait!r} is not between 0 and 300 seconds"])
    return float(wait)


async def drain(transport: Transport, service_name: str, instance_id: str, wait: Wait = True) -> int:
    """Stop new requests to an instance, and wait for those under way; it stays registered.

    Returns the revision. Raises Stragglers, NotRegistered.
    """
    limit = seconds(wait)
    message = registry_pb2.DrainRequest(service_name=service_name, instance_id=instance_id, wait=limit)
    try:
        response = await transport.call(lambda stub: stub.Drain, message, timeout=limit + CALL_TIMEOUT)
    except NotFound:
        raise NotRegistered(service_name, instance_id) from None
    if limit:
        check(response.stragglers, f"instance {service_name}/{instance_id} is not drained after {limit:g} s")
    return response.revision


async def await_routable(
    transport: Transport, service_name: str, instance_id: str, revision: int, wait: Wait = True
) -> None:
    """Wait until every connected data plane sends requests to an instance that was registered at `revision`.

    Raises Stragglers.
    """
    limit = seconds(wait)
    message = registry_pb2.AwaitRoutableRequest(
        service_name=service_name, instance_id=instance_id, revision=revision, wait=limit
    )
    response = await transport.call(lambda stub: stub.AwaitRoutable, message, timeout=limit + CALL_TIMEOUT)
    check(
        response.stragglers,
        f"instance {service_name}/{instance_id} does not get requests everywhere after {limit:g} s",
    )


def check(stragglers: Iterable[registry_pb2.Straggler], what: str) -> None:
    """Raise Stragglers if there are any."""
    if found := {straggler.node: straggler.reason for straggler in stragglers}:
        raise Stragglers(what, found)
