"""Limits counted in Redis, of which data planes have none: they can be applied, and refuse nobody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from controlplane.fleet.reports import NodeState
from controlplane.model.problems import Problem

_NAMED: Final = 3


def without_redis(document: Mapping[str, object], states: Iterable[NodeState]) -> Iterator[Problem]:
    """A warning for each limit of mode redis in a valid document, while connected data planes have no Redis."""
    limits = document.get("rate_limits")
    counted = [
        position
        for position, limit in enumerate(limits if isinstance(limits, list | tuple) else ())
        if isinstance(limit, Mapping) and limit.get("mode") == "redis"
    ]
    if not counted:
        return
    connected = [state for state in states if state.connected]
    lacking = sorted(state.node for state in connected if state.without_redis)
    if lacking:
        detail = _detail(lacking, len(lacking) == len(connected))
        yield from (Problem(f"rate_limits[{position}].mode", detail) for position in counted)


def _detail(lacking: Sequence[str], everywhere: bool) -> str:
    if everywhere:
        return "no connected data plane has a Redis (REDIS_HOST, REDIS_URL): on_store_failure decides what passes"
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    where = f"{', '.join(lacking[:_NAMED])}{more}"
    return f"no Redis (REDIS_HOST, REDIS_URL) at {where}: on_store_failure decides what passes there"
