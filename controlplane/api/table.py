"""Every operation of the admin API, declared beside its handler: routes, guards and OpenAPI are made from them."""

from __future__ import annotations

from starlette.responses import Response

from controlplane.api import (
    configuration,
    fleet,
    health,
    history,
    limits,
    rollout,
    service_token,
    store,
    token,
)
from controlplane.api.answers import json_answer
from controlplane.api.openapi import describe
from controlplane.api.operation import ROOT, Answer, Call, Operation, get

_OPENAPI = Answer(200, "OpenAPI", {"type": "object"})


def operations() -> tuple[Operation, ...]:
    """The table, for the kinds of resources that there are."""
    return (
        *token.operations(),
        *service_token.operations(),
        *configuration.operations(),
        *history.operations(),
        *fleet.operations(),
        *limits.operations(),
        *rollout.operations(),
        *store.operations(),
        get(
            f"{ROOT}/openapi.json",
            openapi,
            "getOpenapi",
            "This description",
            _OPENAPI,
        ),
        *health.operations(),
    )


async def openapi(call: Call) -> Response:
    """The table, described."""
    return json_answer(describe(operations(), call.parts.version))
