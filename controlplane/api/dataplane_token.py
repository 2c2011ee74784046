"""Tokens with which data planes belong to a pool."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from controlplane.api import body
from controlplane.api.answers import json_answer
from controlplane.api.operation import ADMIN, ROOT, Answer, Body, Call, Operation
from controlplane.api.service_token import DAY, DEFAULT_TTL, LEAST_TTL, MOST_TTL
from controlplane.api.shapes.tokens import DataplaneTokenShape
from controlplane.model.base import Part, parse_as
from controlplane.model.fields import Name

logger = logging.getLogger(__name__)

Node = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class DataplaneTokenRequest(Part):
    """Whose token, and for how long."""

    pool: Annotated[
        Name, Field(max_length=63, description="The pool. Until it exists, the token is refused.")
    ]
    node: Annotated[
        Node | None, Field(description="The one data plane (its NODE); left out: any of the pool.")
    ] = None
    ttl: Annotated[int, Field(ge=LEAST_TTL, le=MOST_TTL, description="Lifetime of the token in seconds.")] = (
        DEFAULT_TTL
    )


async def create(call: Call) -> Response:
    """A token that is bound to the pool."""
    asked = parse_as(DataplaneTokenRequest, await body.document(call.request))
    token = call.parts.issuer().issue_dataplane(asked.pool, asked.node, asked.ttl)
    # Its holder gets the configuration of the pool, with private keys: log who created it.
    extra = {"pool": asked.pool, "author": call.author, "ttl": asked.ttl}
    logger.info("data plane token issued", extra=extra | ({"node": asked.node} if asked.node else {}))
    shown = {"token": token, "pool": asked.pool, "node": asked.node, "expires_in": asked.ttl}
    return json_answer(shown, 201, headers={"Cache-Control": "no-store"})


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/dataplane-token",
        handler=create,
        access=ADMIN,
        id="createDataplaneToken",
        summary="Issue a token for the data planes of one pool, or for one of them",
        answers=(Answer(201, "The token. It is not stored", DataplaneTokenShape),),
        tag="identity",
        body=Body(DataplaneTokenRequest, example={"pool": "edge", "ttl": 30 * DAY}),
        refusals=(503,),
    )
