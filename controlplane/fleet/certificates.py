"""Certificates that data planes read from their own files, over the fleet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from controlplane.fleet.reports import CertificateReport, NodeState
from controlplane.model.certificate import ending_at
from controlplane.model.words import count


def ends(states: Iterable[NodeState]) -> Mapping[str, float]:
    """The earliest end of validity that a connected data plane serves, Unix seconds, by certificate."""
    found: dict[str, float] = {}
    for _, one in _reports(states):
        if one.not_after:
            found[one.name] = min(found.get(one.name, one.not_after), one.not_after)
    return found


def warnings(states: Iterable[NodeState], now: float) -> Iterator[str]:
    """One for each certificate and reason, with its data planes: it ends soon, or its files cannot be used."""
    found: dict[tuple[str, str], list[str]] = {}
    for node, one in _reports(states):
        end = ending_at(datetime.fromtimestamp(one.not_after, UTC), now) if one.not_after else ""
        for detail in filter(None, (end, one.problem)):
            found.setdefault((one.name, detail), []).append(node)
    for (name, detail), nodes in sorted(found.items()):
        yield f"certificate {name!r} on {_named(sorted(nodes))}: {detail}"


def _reports(states: Iterable[NodeState]) -> Iterator[tuple[str, CertificateReport]]:
    return ((state.node, one) for state in states if state.connected for one in state.certificates)


def _named(nodes: list[str]) -> str:
    more = len(nodes) - 1
    return f"data plane {nodes[0]}" + (f" and {count(more, 'more data plane')}" if more else "")
