"""The header fields that nobody may edit are the same to both planes."""

from __future__ import annotations

import pytest

from controlplane.model.edits import REQUEST, RESPONSE
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import parse
from dataplane.config.decode import decode
from dataplane.config.decode.edits import OF_REQUESTS, OF_RESPONSES
from dataplane.config.table import UnlinkedRoute
from headgate_api.v1 import resources_pb2 as pb


def test_they_are_the_same() -> None:
    assert {name.decode() for name in OF_REQUESTS} == REQUEST
    assert {name.decode() for name in OF_RESPONSES} == RESPONSE


@pytest.mark.parametrize("kind", ["set", "add", "remove"])
@pytest.mark.parametrize(
    ("field", "name"),
    [
        *(("request_headers", name) for name in ("host", "content-length", "x-auth-subject", "te")),
        *(("request_headers", name) for name in ("x_auth_subject", "x.forwarded.for", "content_length")),
        *(("response_headers", name) for name in ("transfer-encoding", "connection", "x-request-id")),
    ],
)
def test_neither_plane_edits_them(kind: str, field: str, name: str) -> None:
    edits: dict[str, object] = {kind: [name] if kind == "remove" else {name: "1"}}
    with pytest.raises(InvalidConfig, match=f"must not contain {name}"):
        parse("route", {"name": "r", "prefix": "/", "service_name": "s", field: edits})
    body = pb.Route(prefix="/", service_name="s", **{field: pb.HeaderEdits(**edits)})  # type: ignore[arg-type]
    item = decode(pb.Resource(name="r", revision=1, route=body))
    assert isinstance(item, UnlinkedRoute) and item.route.forwarding is not None
    assert item.route.forwarding.unusable == f"{field}.{kind}: {name!r} cannot be edited"
