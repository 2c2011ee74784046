"""The whole configuration as one document, as of one moment: applied again, it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import Response

from controlplane.api import selection
from controlplane.api.answers import json_answer
from controlplane.api.operation import ROOT, Answer, Call, Operation, Parameter, get, many
from controlplane.api.problems import HttpError
from controlplane.aside import FEW
from controlplane.model import stored
from controlplane.model.config import View
from controlplane.model.labels import Wanted, selects
from controlplane.model.problems import InconsistentConfig, Problem
from controlplane.model.resources import documents

_LABEL = Parameter(
    "label",
    "Only resources with this label: NAME=VALUE, or NAME for any value. If given several times, all must match.",
    schema={"type": "array", "items": {"type": "string", "minLength": 1}},
)


async def export(call: Call) -> Response:
    """Answers every resource that a document may declare, by kind. Secrets are left out."""
    if unknown := sorted(set(call.request.query_params) - {_LABEL.name}):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}: the configuration takes label")
    labels, view = selection.labels(call), await call.parts.commands.configuration()
    _check_readable(view)

    def answer() -> Response:
        return json_answer(document_of(view, labels))

    return answer() if len(view.resources) <= FEW else await call.parts.commands.reads.run(answer)


def document_of(view: View, labels: Wanted = ()) -> dict[str, list[dict[str, object]]]:
    """The document that declares the resources with these labels, without kinds of which there is none."""
    found = {
        plural: [
            stored.shown(resource)
            for name in view.names.get(model.KIND, ())
            if selects(labels, (resource := view.resources[model.KIND, name].resource).labels)
        ]
        for plural, model in documents().items()
    }
    return {plural: listed for plural, listed in found.items() if listed}


def _check_readable(view: View) -> None:
    """Raises InconsistentConfig for resources that would be missing in the document."""
    kinds = {model.KIND for model in documents().values()}
    missing = sorted(identity for identity in view.unreadable if identity[0] in kinds)
    if missing:
        raise InconsistentConfig(Problem(f"{kind}/{name}", "cannot be read") for kind, name in missing)


def operations() -> Iterator[Operation]:
    """The operation that the handler above answers."""
    yield get(
        f"{ROOT}/config",
        export,
        "exportConfiguration",
        "The whole configuration as a document, without secrets",
        Answer(200, "As of one moment; what has no resources is left out", _document()),
        tag="configuration",
        parameters=(_LABEL,),
        refusals=(400,),
    )


def _document() -> Mapping[str, Any]:
    return {"type": "object", "properties": {plural: many(model) for plural, model in documents().items()}}
