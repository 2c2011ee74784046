"""The admin API as an ASGI application, made from the table of operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from controlplane.api import auth
from controlplane.api.explain import explain
from controlplane.api.operation import Call, Operation
from controlplane.api.parts import Parts
from controlplane.api.problems import HttpError, respond
from controlplane.api.recorder import Recorder, record_of
from controlplane.api.table import operations


def make_api(parts: Parts) -> ASGIApp:
    """The whole admin API over these parts. It has no lifespan: `app` starts and stops the parts."""
    router = Router(_routes(parts), default=_not_found, redirect_slashes=False)
    return Recorder(router, parts.answered, lambda: parts.published_revision)


def _routes(parts: Parts) -> list[Route]:
    by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in operations():
        by_path[operation.path][operation.method] = operation
    return [Route(path, _Endpoint(parts, operations)) for path, operations in by_path.items()]


class _Endpoint:
    """All operations at one path."""

    def __init__(self, parts: Parts, operations: Mapping[str, Operation]) -> None:
        self._parts = parts
        self._operations = {**operations}
        if "GET" in operations:
            self._operations["HEAD"] = operations["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        writing = request.method not in ("GET", "HEAD")
        try:
            return await self._run(request)
        except ClientDisconnect:
            return Response(status_code=499)  # the client is gone; only the log shows it
        except Exception as error:
            refused = explain(error, writing=writing)
            if refused is None:
                raise
            return respond(refused)

    async def _run(self, request: Request) -> Response:
        operation = self._operations.get(request.method)
        if operation is None:
            allowed = ", ".join(sorted(self._operations))
            raise HttpError(405, "Method not allowed", headers={"Allow": allowed})
        author = await auth.author(self._parts, request, operation.access)
        if operation.access != "public":
            record_of(request.scope).author = author
        writing = operation.tag == "configuration" and operation.method != "GET"
        if writing:
            self._parts.require_trusted_store()
        response = await operation.handler(Call(self._parts, request, author))
        if writing:
            await self._parts.require_same_store()
        return response


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    await respond(HttpError(404, "Nothing is at this path; /api/v1/openapi.json lists what is"))(
        scope, receive, send
    )
