"""Whether the process lives, whether it can answer, and what it counts."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from controlplane.api import shapes
from controlplane.api.answers import model_answer
from controlplane.api.metrics import registry
from controlplane.api.operation import Call


async def health(call: Call) -> Response:
    """Always 200: a restart would mend neither the store nor what lies in it."""
    watcher = call.parts.watcher
    problems = [*call.parts.not_ready(), *map(str, watcher.problems)]
    well = watcher.connected and not problems
    shape = shapes.HealthShape(
        status="ok" if well else "degraded",
        version=call.parts.version,
        store="ok" if watcher.connected else "does not answer",
        revision=watcher.revision,
        problems=list(dict.fromkeys(problems)),
    )
    return model_answer(shape)


async def ready(call: Call) -> Response:
    """503 until the configuration has been read. A store that is lost later does not count: data planes that
    connect still get the last good configuration."""
    watcher, reasons = call.parts.watcher, call.parts.not_ready()
    shape = shapes.ReadyShape(
        ready=not reasons,
        reasons=reasons,
        revision=watcher.revision,
        problems=list(map(str, watcher.problems)),
    )
    return model_answer(shape, 503 if reasons else 200)


async def metrics(call: Call) -> Response:
    """The exposition for Prometheus, in the form that it asks for."""
    encode, media_type = choose_encoder(call.request.headers.get("accept", ""))
    return Response(encode(registry(call.parts)), headers={"Content-Type": media_type})
