"""Whether the process is alive, whether it is ready, and its metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from controlplane.api.answers import model_answer
from controlplane.api.metrics import registry
from controlplane.api.operation import Answer, Call, Operation, get
from controlplane.api.parts import Parts
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.server import HealthShape, ReadyShape
from controlplane.distribute.watcher import FULL, Watcher
from controlplane.fleet import certificates
from controlplane.model.certificate import Certificate, ending
from controlplane.model.discovered import State

_TEXT = {"type": "string"}


MOST_NAMED = 10
"""Services whose sources do not answer that are named."""


def _of_discovery(watcher: Watcher) -> list[str]:
    """Services whose sources of instances have a problem."""
    found = [(name, state) for name, state in watcher.discovery_states().items() if state.problem]
    named = [_discovery(name, state) for name, state in found[:MOST_NAMED]]
    more = len(found) - len(named)
    return [*named, *((f"and {more} more services with a problem of discovery",) if more else ())]


def _discovery(service: str, state: State) -> str:
    since = f" since {moment(state.since)}" if state.since else ""
    known = f"{state.instances} instance{'' if state.instances == 1 else 's'} known"
    return f"discovery of service {service!r} ({state.source}){since}: {state.problem}; {known}"


def _of_accounts(parts: Parts) -> list[str]:
    """The reason that pods' tokens cannot be verified, or soon cannot."""
    if parts.accounts is None or not (problem := parts.accounts.problem):
        return []
    return [f"the keys for service-account tokens cannot be read: {problem}"]


def _of_the_store(parts: Parts) -> list[str]:
    """Problems of the store, or of its content."""
    watcher, too_many = parts.watcher, parts.too_many_routes
    found = [*((FULL,) if watcher.full else ()), *map(str, watcher.problems)]
    return [*found, *((str(too_many),) if too_many else ())]


def _of_certificates(parts: Parts) -> list[str]:
    """Certificates that have ended, or end soon, and those whose files a data plane cannot use."""
    current = parts.watcher.current
    stamped = current.resources.values() if current is not None else ()
    found = (one.resource for one in stamped if isinstance(one.resource, Certificate))
    now = time.time()
    warned = [f"certificate {name!r} {detail}" for name, detail in ending(found, now)]
    warned += certificates.warnings(parts.fleet.nodes.values(), now)
    more = len(warned) - MOST_NAMED
    return [*warned[:MOST_NAMED], *((f"and {more} more warnings about certificates",) if more > 0 else ())]


async def health(call: Call) -> Response:
    """Always 200: a restart would mend neither the store nor its content."""
    watcher = call.parts.watcher
    problems = [*call.parts.not_ready(), *_of_the_store(call.parts), *_of_discovery(watcher)]
    problems += _of_accounts(call.parts)
    well = watcher.connected and not problems
    shape = HealthShape(
        status="ok" if well else "degraded",
        version=call.parts.version,
        store="ok" if watcher.connected else "does not answer",
        revision=watcher.revision,
        problems=list(dict.fromkeys(problems)),
        warnings=_of_certificates(call.parts),
    )
    return model_answer(shape)


async def ready(call: Call) -> Response:
    """503 until the configuration has been read. A store that is lost or full later does not count: data planes
    that connect still get the last good configuration, and it is lost or full for every other control plane too."""
    watcher, reasons = call.parts.watcher, call.parts.not_ready()
    shape = ReadyShape(
        ready=not reasons,
        reasons=reasons,
        revision=watcher.revision,
        problems=_of_the_store(call.parts),
    )
    return model_answer(shape, 503 if reasons else 200)


async def metrics(call: Call) -> Response:
    """The metrics for Prometheus, in the format that it requests."""
    encode, media_type = choose_encoder(call.request.headers.get("accept", ""))
    return Response(encode(registry(call.parts)), headers={"Content-Type": media_type})


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    for path, handler, summary, answer in (
        ("/health", health, "Whether the process is alive", Answer(200, "It does", HealthShape)),
        ("/metrics", metrics, "Metrics", Answer(200, "For Prometheus", _TEXT, "text/plain")),
    ):
        yield get(path, handler, f"get{path[1:].title()}", summary, answer, access="public", tag="process")
    yield get(
        "/ready",
        ready,
        "getReady",
        "Whether requests can be answered",
        Answer(200, "They can", ReadyShape),
        Answer(503, "Not ready; the reasons", ReadyShape),
        access="public",
        tag="process",
    )
