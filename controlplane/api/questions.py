"""Explanations: what a data plane would decide about a request, step by step, now or at an earlier revision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from pydantic import ValidationError
from starlette.responses import Response

from controlplane.api import body
from controlplane.api.allowance import Allowance
from controlplane.api.answers import model_answer
from controlplane.api.documents import MalformedDocument, parse_json
from controlplane.api.operation import READ, ROOT, Answer, Body, Call, Operation
from controlplane.api.problems import HttpError
from controlplane.api.request_text import explain_of
from controlplane.api.shapes.questions import ExplainBody, ExplanationShape, StepShape
from controlplane.fleet.questions import (
    MOST_RESOURCES,
    Asker,
    Explain,
    Explanation,
    Past,
    Unanswered,
)
from controlplane.model.base import problems_of
from controlplane.model.extract import extract_past
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.problems import InvalidConfig

MOST_BYTES = 256 * 1024
ANSWER_WITHIN = 10.0
"""Seconds that a data plane has for an explanation."""
OF_NOW: Final[Mapping[str, tuple[str, ...]]] = {
    "early_limits": ("tokens in buckets", "requests under way"),
    "token": ("signing keys", "time"),
    "user": ("credentials",),
    "late_limits": ("tokens in buckets", "requests under way"),
    "service": ("registered instances", "requests under way"),
    "breaker": ("state of the breaker",),
    "instance": ("registered instances", "health", "requests under way"),
}
"""What a step takes from the present, by its stage, when a request is explained at an earlier revision. All else is of
that revision."""
_READS_NOW: Final = ("passed", "refused")
"""Outcomes of steps that look at it."""
EXPLANATIONS = Allowance("Explanations", at_once=16, each=4, per_second=10.0, burst=20)


async def explain(call: Call) -> Response:
    """Explain one request."""
    with call.parts.questions.asked("explain"):
        asked = await _read(call)
        question = explain_of(asked.method, asked.url, asked.headers, asked.token, asked.client)
        node = choose(call, asked.dataplane)
        with EXPLANATIONS.take(call.author):
            if asked.at is not None:
                question = replace(question, past=await _past(call, asked.at, node))
            explanation = await _explained(asker_of(call), node, question)
        return model_answer(_shown(node, explanation, past=asked.at is not None))


def asker_of(call: Call) -> Asker:
    """The way to data planes. HttpError 503 where there is none."""
    if call.parts.asker is None:
        raise HttpError(503, "This control plane has no data planes to ask")
    return call.parts.asker


def choose(call: Call, wanted: str | None) -> str:
    """The data plane to ask: the wanted one, or the first that is connected. HttpError 404 and 503."""
    nodes = call.parts.fleet.nodes
    if wanted is not None:
        if wanted not in nodes:
            raise HttpError(404, f"Data plane {wanted!r} is not known; GET {ROOT}/dataplanes lists all")
        if not nodes[wanted].connected:
            raise HttpError(503, f"Data plane {wanted!r} is not connected")
        return wanted
    connected = sorted(name for name, state in nodes.items() if state.connected)
    if not connected:
        raise HttpError(503, "No data plane is connected")
    # The question need not travel if the data plane is connected to this control plane.
    here = (name for name in connected if call.parts.fleet.controlplane_of(name) is None)
    return next(here, connected[0])


async def _read(call: Call) -> ExplainBody:
    if body.media_type(call.request) not in body.JSON_TYPES:
        raise HttpError(415, "Send application/json", headers={"Accept": "application/json"})
    text = await body.read(call.request, MOST_BYTES)
    try:
        return ExplainBody.model_validate(parse_json(text.decode()))
    except (MalformedDocument, UnicodeDecodeError):
        # Nothing of the body is quoted: it may hold a token.
        raise HttpError(400, "The body is not JSON") from None
    except ValidationError as error:
        errors = [*problems_of(error, ExplainBody)]
        raise HttpError(400, "The request to explain cannot be read", errors=errors) from None


async def _past(call: Call, revision: int, node: str) -> Past:
    """The configuration at a revision, as the pool of the data plane would have got it. HttpError 400 if it cannot be
    sent; NotFound if the history is too short."""
    snapshot = call.parts.snapshot()
    try:
        changed, removed = await call.parts.commands.past(revision, snapshot)
    except InvalidConfig as error:
        raise HttpError(
            400, f"The configuration at revision {revision} can no longer be read", errors=error.problems
        ) from None
    state = call.parts.fleet.state(node)
    changed, removed = extract_past(snapshot, state.pool if state else DEFAULT_POOL, changed, removed)
    if len(changed) + len(removed) > MOST_RESOURCES:
        raise HttpError(400, f"More than {MOST_RESOURCES} resources have changed since revision {revision}")
    return Past(revision, changed, removed)


async def _explained(asker: Asker, node: str, question: Explain) -> Explanation:
    try:
        async with asyncio.timeout(ANSWER_WITHIN), aclosing(asker.ask(node, question)) as replies:
            async for reply in replies:
                if isinstance(reply, Explanation):
                    return reply
    except TimeoutError:
        raise HttpError(504, f"Data plane {node!r} did not answer within {ANSWER_WITHIN:g} s") from None
    except Unanswered as error:
        raise HttpError(503, str(error)) from None
    raise HttpError(503, f"Data plane {node!r} did not explain the request")


def _shown(node: str, found: Explanation, *, past: bool) -> ExplanationShape:
    return ExplanationShape(
        dataplane=node,
        worker=found.worker,
        revision=found.revision,
        status=found.status or None,
        decision=found.decision,
        detail=found.detail or None,
        reason=found.reason or None,
        route=found.route or None,
        service=found.service or None,
        instance=found.instance or None,
        steps=[
            StepShape(
                stage=one.stage,
                outcome=one.outcome,
                text=one.text,
                details=dict(one.details),
                of_now=list(OF_NOW.get(one.stage, ())) if past and one.outcome in _READS_NOW else [],
            )
            for one in found.steps
        ],
    )


def operations() -> Iterator[Operation]:
    """The operation that the handler above answers."""
    yield Operation(
        method="POST",
        path=f"{ROOT}/explain",
        handler=explain,
        access=READ,
        id="explain",
        summary="Explain what a data plane would decide about a request, without any effect",
        answers=(Answer(200, "The decision and its steps", ExplanationShape),),
        tag="fleet",
        body=Body(
            ExplainBody,
            ("application/json",),
            example={"method": "GET", "url": "http://localhost:8000/orders/7", "client": "203.0.113.9"},
        ),
        refusals=(404, 429, 503, 504),
    )
