"""What waits for a collector that does not answer: one bound for all signals, and each has its part."""

from __future__ import annotations

import struct
from typing import Any

from dataplane.channel import Kind
from dataplane.telemetry.node import NodeTelemetry
from dataplane.telemetry.options import Target, Telemetry

TARGET = Target("127.0.0.1:4317", grpc=True, tls=False)


class Silent:
    """Never asked: the exporters are not started."""

    def send(self, message: bytes) -> tuple[int, str]:
        raise AssertionError(message)

    def close(self) -> None:
        pass


def fill(node: NodeTelemetry, kind: Kind) -> int:
    """Frames of 1000 bytes that are kept."""
    signal = {Kind.SPANS: "traces", Kind.LOG_RECORDS: "logs"}[kind]
    count = 0
    while not node.counts()[signal][1]:
        node.take(kind, struct.pack(">I", 1) + b"x" * 1000)
        count += 1
    return count - 1


def node(**targets: Any) -> NodeTelemetry:
    return NodeTelemetry(Telemetry(**targets), "gw-1", "1.0", lambda signal, target: Silent(), most=800_000)


async def test_all_signals_have_one_bound() -> None:
    all_three = node(traces=TARGET, logs=TARGET, metrics=TARGET)
    assert (fill(all_three, Kind.SPANS), fill(all_three, Kind.LOG_RECORDS)) == (300, 300)
    assert fill(node(traces=TARGET), Kind.SPANS) == 800
    await all_three.close()
