"""Asks a gateway of the request line's tests to explain a request, and compares the answer with the decision."""

from __future__ import annotations

from dataplane.config.table import Table, run_steps
from dataplane.gateway.explained_steps import Step
from dataplane.gateway.explanation import Explanation, explain
from dataplane.gateway.twin import GatewayTwin
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.nobody import Nobody
from dataplane.proxy.parsed import read_head
from tests.unit.dataplane.gateway.line import Line


def explained(
    line: Line,
    path: str = "/orders/1",
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    token: str = "",
    address: str = "203.0.113.9",
    now: float = 0.0,
    host: bytes = b"a.example",
    table: Table | None = None,
) -> Explanation:
    """The explanation of what `Line.ask` would ask."""
    table = table or line.gateway.table
    twin = GatewayTwin(line.gateway, table, now)
    said = [(b"Host", host), *fields]
    if token:
        said.append((b"Authorization", b"Bearer " + token.encode()))
    head = b"%b %b HTTP/1.1\r\n" % (method, path.encode("utf-8"))
    head += b"".join(b"%b: %b\r\n" % field for field in said) + b"\r\n"
    client = Nobody(line.trusted.peer(address))
    exchange = read_head(head, client, twin, Bounds(), line.trusted)
    return run_steps(explain(exchange, twin, table, now))


def step(explanation: Explanation, stage: str) -> Step:
    """The step of this stage."""
    return next(one for one in explanation.steps if one.stage == stage)


def stopped(explanation: Explanation) -> str:
    """The stage that refused the request; empty if none did."""
    return next((one.stage for one in explanation.steps if one.outcome == "refused"), "")
