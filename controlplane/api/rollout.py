"""The rollout of a revision to the data planes: read by itself, or waited for after a change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from controlplane.api.answers import long_answer, model_answer
from controlplane.api.numbers import MOST_REVISION, whole
from controlplane.api.operation import ROOT, Answer, Call, Operation, Parameter, flag, get
from controlplane.api.problems import HttpError
from controlplane.api.shapes.changes import NodeProgressShape, ReceiptShape, RolloutShape
from controlplane.api.shapes.fleet import rejection
from controlplane.fleet.progress import ALL, NodeProgress, Progress, Quorum
from controlplane.fleet.waiting import MOST_WAIT

PARAMETERS = (
    Parameter(
        "wait",
        "Seconds to wait for the connected data planes to serve the revision.",
        schema={"type": "number", "minimum": 0, "maximum": MOST_WAIT},
    ),
    Parameter("quorum", "The data planes that must serve it: all, a number, or a percentage such as 50%."),
)
RECEIPTS = (
    Answer(200, "The outcome for each resource", ReceiptShape),
    Answer(202, "The same; the change is decided, but not completed yet", ReceiptShape),
)
"""The answers of an operation that changes the configuration and may wait for the rollout."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait that the caller asked for."""

    seconds: float
    quorum: Quorum


def asked(call: Call, *others: str) -> Wait | None:
    """The wait that the query asks for; None: no wait. HttpError 400, for unknown parameters too."""
    query = call.request.query_params
    if unknown := sorted(set(query) - {"wait", "quorum", *others}):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}")
    try:
        quorum = Quorum.parse(query["quorum"]) if "quorum" in query else ALL
    except ValueError as error:
        raise HttpError(400, str(error)) from None
    if "wait" not in query:
        if "quorum" in query:
            raise HttpError(400, "quorum has no meaning without wait")
        return None
    return Wait(_seconds(query["wait"]), quorum)


def asked_or_dry(call: Call, *others: str) -> tuple[Wait | None, bool]:
    """The wait of a change, and whether it is a dry run. HttpError 400, for unknown parameters too."""
    dry, wait = flag(call, "dry_run"), asked(call, "dry_run", "force", *others)
    if dry and wait:
        raise HttpError(400, "A dry run writes nothing: leave out wait")
    return wait, dry


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_WAIT:
        raise HttpError(400, f"wait must be 0 to {MOST_WAIT:g} seconds")
    return seconds


async def finish(
    call: Call, revision: int, receipt: dict[str, object], wait: Wait | None, status: int
) -> Response:
    """Answer a change: at once with `status`, or when it is served; 409 when it was rejected, 504 after the wait."""
    if wait is None:
        return await long_answer(receipt, status)
    seen = await _served(call, revision, wait, receipt)
    receipt = {**receipt, **dict(shown(seen).model_dump())}
    receipt.pop("unfinished", None)  # a served change is complete
    return await long_answer(receipt)


async def await_served(call: Call, revision: int, wait: Wait | None) -> None:
    """The wait after a change whose answer does not tell of data planes. HttpError as in `finish`."""
    if wait is not None:
        await _served(call, revision, wait, {"revision": revision})


async def _served(call: Call, revision: int, wait: Wait, receipt: Mapping[str, object]) -> Progress:
    """HttpError, with the receipt and the state of each data plane, unless enough of them serve the change."""
    seen = await call.parts.waiting.served(revision, wait.seconds, wait.quorum)
    if seen.complete:
        return seen
    late = ", ".join(map(str, seen.stragglers[:10]))
    more = f" and {len(seen.stragglers) - 10} more" if len(seen.stragglers) > 10 else ""
    which = f"not yet: {late}{more}" if late else _connected(seen)
    detail = f"The change is written at revision {revision}, but {_outcome(seen, wait)}; {which}"
    if seen.problem:
        detail = f"The change is written at revision {revision}, but {seen.problem}"
    more_of_it = {**receipt, **dict(shown(seen).model_dump())}
    raise HttpError(409 if seen.rejected else 504, detail, more=more_of_it)


def _outcome(seen: Progress, wait: Wait) -> str:
    serve = "data plane serves it" if seen.needed == 1 else "data planes serve it"
    served = f"only {seen.done} of {seen.needed} {serve}"
    return f"{served}, and others rejected it" if seen.rejected else f"{served} after {wait.seconds:g} s"


def _connected(seen: Progress) -> str:
    count = sum(node.connected for node in seen.nodes)
    if not count:
        return "no data plane is connected"
    return f"no more than {count} data plane{' is' if count == 1 else 's are'} connected"


async def rollout(call: Call) -> Response:
    """The rollout of a revision; with `wait`, as soon as it is served or rejected."""
    wait = asked(call) or Wait(0.0, ALL)
    number = revision(call.path("revision"))
    call.parts.snapshot()  # or 503: still starting
    seen = await call.parts.waiting.served(number, wait.seconds, wait.quorum)
    return model_answer(shown(seen))


def revision(text: str) -> int:
    """The revision in a path; HttpError 404 for anything else."""
    if (number := whole(text, MOST_REVISION)) is None:
        raise HttpError(404, f"{text[:40]!r} is not a revision")
    return number


def shown(seen: Progress) -> RolloutShape:
    """The response body."""
    return RolloutShape(
        revision=seen.revision,
        digest=seen.digest,
        state="served" if seen.complete else "rejected" if seen.rejected else "waiting",
        serving=seen.done,
        needed=seen.needed,
        nodes=[_node(node) for node in seen.nodes],
        problem=seen.problem,
    )


def _node(node: NodeProgress) -> NodeProgressShape:
    return NodeProgressShape(
        node=node.node,
        connected=node.connected,
        applied_revision=node.applied_revision,
        done=node.done,
        reason=node.reason,
        rejection=rejection(node.rejection),
    )


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/rollouts/{{revision}}",
        rollout,
        "getRollout",
        "The rollout of a revision to the data planes",
        Answer(200, "The progress of each data plane", RolloutShape),
        parameters=PARAMETERS,
        refusals=(400, 404),
    )
