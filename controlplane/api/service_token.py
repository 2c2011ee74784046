"""Tokens with which one service registers its instances, and no other service's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from controlplane.api import body
from controlplane.api.answers import json_answer
from controlplane.api.operation import ADMIN, ROOT, Answer, Body, Call, Operation
from controlplane.api.shapes.tokens import ServiceTokenShape
from controlplane.model.base import Part, parse_as
from controlplane.model.fields import Name

logger = logging.getLogger(__name__)

DAY = 86_400
DEFAULT_TTL, LEAST_TTL, MOST_TTL = 90 * DAY, 60, 366 * DAY
"""Seconds. A service token cannot be revoked, only expire: keep it short where it can be renewed."""


class ServiceTokenRequest(Part):
    """Whose token, and for how long."""

    service_name: Annotated[Name, Field(description="The service. It does not have to exist yet.")]
    ttl: Annotated[int, Field(ge=LEAST_TTL, le=MOST_TTL, description="Lifetime of the token in seconds.")] = (
        DEFAULT_TTL
    )


async def create(call: Call) -> Response:
    """A token that is bound to the service."""
    asked = parse_as(ServiceTokenRequest, await body.document(call.request))
    token = call.parts.issuer().issue_service(asked.service_name, asked.ttl)
    # A service token gets traffic: log who created it.
    extra = {"service": asked.service_name, "author": call.author, "ttl": asked.ttl}
    logger.info("service token issued", extra=extra)
    shown = {"token": token, "service_name": asked.service_name, "expires_in": asked.ttl}
    return json_answer(shown, 201, headers={"Cache-Control": "no-store"})


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/service-token",
        handler=create,
        access=ADMIN,
        id="createServiceToken",
        summary="Issue a token that registers instances of one service, and of no other",
        answers=(Answer(201, "The token. It is not stored", ServiceTokenShape),),
        tag="identity",
        body=Body(ServiceTokenRequest, example={"service_name": "orders", "ttl": 30 * DAY}),
        refusals=(503,),
    )
