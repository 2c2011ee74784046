"""What a data plane says of a stream that ended."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from dataplane.config.stream.config_stream import _reason


@pytest.mark.parametrize(
    ("code", "details", "said"),
    [
        (grpc.StatusCode.UNAVAILABLE, "shutting down", "UNAVAILABLE: shutting down"),
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "no",
            "UNAUTHENTICATED: no (it accepts neither DATAPLANE_TOKEN nor",
        ),
        (grpc.StatusCode.INTERNAL, "Internal error from Core", "it refused the stream, and the next attempt"),
    ],
)
def test_a_reason_names_what_to_look_at(code: grpc.StatusCode, details: str, said: str) -> None:
    assert _reason(AioRpcError(code, Metadata(), Metadata(), details, None)).startswith(said)
