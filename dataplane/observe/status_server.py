"""The status server: health, readiness, metrics and the applied configuration of this node, by plain HTTP.

It answers from the supervisor's state and never waits for a worker.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Set
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dataplane.observe.metrics import render
from dataplane.observe.view import NodeView, config_document, health_document

View = Callable[[], NodeView]


_NOT_FORWARDED = "the status port is for operators of this node only; this request came through a gateway"


def make_app(view: View, exposed: Set[str] = frozenset({"/health"})) -> Starlette:
    """The status endpoints. `view` is called for every request.

    Requests that a gateway forwarded get those in `exposed` alone: a service that registers the status port of a data
    plane as its own instance must not have a way to the rest.
    """

    def answer_health(_: Request) -> Response:
        return _json(health_document(view()))

    def answer_ready(_: Request) -> Response:
        node = view()
        reason = node.not_ready
        body = {"status": "not ready", "detail": reason} if reason else {"status": "ready"}
        if not node.revision and node.controlplane_problem:
            # The reason the node is not configured. /health does not state it, as the traffic port answers it too.
            body["controlplane"] = node.controlplane_problem
        return _json(body, 503 if reason else 200)

    def answer_metrics(request: Request) -> Response:
        body, media_type = render(view, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    def answer_config(_: Request) -> Response:
        return _json(config_document(view()))

    handlers = {
        "/health": answer_health,
        "/ready": answer_ready,
        "/metrics": answer_metrics,
        "/debug/config": answer_config,
    }
    return Starlette(
        routes=[Route(path, _on_loop(handler, path in exposed)) for path, handler in handlers.items()]
    )


def _on_loop(handler: Callable[[Request], Response], exposed: bool) -> Callable[[Request], Any]:
    # Starlette would run a plain function in a thread, while the event loop changes the state it reads.
    async def handle(request: Request) -> Response:
        if not exposed and "x-forwarded-for" in request.headers:
            return _json({"detail": _NOT_FORWARDED}, 403)
        return handler(request)

    return handle


def _json(body: object, status: int = 200) -> Response:
    # Indented for people who use curl.
    content = json.dumps(body, indent=2) + "\n"
    return Response(content, status, media_type="application/json")


class StatusServer(uvicorn.Server):
    """Uvicorn on a bound socket. The supervisor handles signals."""

    def __init__(self, view: View, exposed: Set[str]) -> None:
        super().__init__(
            uvicorn.Config(
                make_app(view, exposed),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=1,
                # Longer than workers keep idle connections, so that workers close them first.
                timeout_keep_alive=120,
                ws="none",
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers as they are."""
        yield

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until cancelled or `should_exit` is set; closes the socket."""
        await self.serve(sockets=[listener])
