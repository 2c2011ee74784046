"""What a data plane says of a stream that ended."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from dataplane.config.reports import NodeState
from dataplane.config.stream import ConfigStream
from dataplane.config.stream.config_stream import MOST_ASKS, _reason
from dataplane.config.stream.connect import ControlPlanes
from headgate_api.v1 import limits_pb2

REFUSED = AioRpcError(grpc.StatusCode.UNAUTHENTICATED, Metadata(), Metadata(), "no", None)
UNTOLD = AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata(), "Internal error from Core", None)


@pytest.mark.parametrize(
    ("code", "details", "said"),
    [
        (grpc.StatusCode.UNAVAILABLE, "shutting down", "UNAVAILABLE: shutting down"),
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "no",
            "UNAUTHENTICATED: no (the control plane accepts neither DATAPLANE_TOKEN nor",
        ),
        (
            grpc.StatusCode.INTERNAL,
            "Internal error from Core",
            "the control plane refused the stream; the next attempt",
        ),
    ],
)
def test_a_reason_names_what_to_look_at(code: grpc.StatusCode, details: str, said: str) -> None:
    assert _reason(AioRpcError(code, Metadata(), Metadata(), details, None)).startswith(said)


def test_a_reason_that_is_lost_at_times_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stream = ConfigStream(
        lambda: ControlPlanes(("cp:1",), "wrong"), lambda: NodeState("node", "0.1.0", 0, "", {}, "", 0)
    )
    for error in (REFUSED, UNTOLD, REFUSED, UNTOLD):
        stream._lost("cp:1", _reason(error))
    assert len(caplog.records) == 1
    assert "UNAUTHENTICATED" in stream.failure


def test_questions_about_limits_do_not_pile_up_for_a_control_plane_that_reads_none() -> None:
    stream = ConfigStream(cast(Any, None), cast(Any, None))
    assert not stream.ask_limits(limits_pb2.LimitAsks()), "there is no connection"
    stream.connected_to = "127.0.0.1:1"
    assert [stream.ask_limits(limits_pb2.LimitAsks()) for _ in range(MOST_ASKS + 1)] == (
        [True] * MOST_ASKS + [False]
    )
