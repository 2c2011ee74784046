"""The parameters of a change that deletes what its document leaves out."""

from __future__ import annotations

import re
from typing import Final

from controlplane.api import selection
from controlplane.api.operation import Call, Parameter, flag
from controlplane.api.problems import HttpError
from controlplane.commands.plans.pruning import Prune

_PLAN: Final = r"^[0-9a-f]{32}$"


def _switch(name: str, description: str) -> Parameter:
    return Parameter(name, description, schema={"type": "boolean", "default": False})


_ONLY_WITH_PRUNE: Final = (
    Parameter(
        "label",
        "With prune: the resources to which the document is compared, NAME=VALUE or NAME. Of several labels all must "
        "match. Every declared resource must match, too.",
        schema={"type": "array", "items": {"type": "string", "minLength": 1}},
    ),
    _switch("all", "With prune: compare with every resource, in place of those with a label."),
    _switch("users", "With prune: delete users, too."),
    _switch("certificates", "With prune: delete certificates, too. Their private keys cannot be restored."),
    _switch("empty", "With prune: also if the document declares nothing."),
)
PARAMETERS: Final = (
    _switch("prune", "Delete the resources that match the labels and are not in the document."),
    *_ONLY_WITH_PRUNE,
    Parameter(
        "plan",
        "Only if the change is still that of the dry run with this `plan`. 412 if another change came between.",
        schema={"type": "string", "pattern": _PLAN},
    ),
)
NAMES: Final = tuple(one.name for one in PARAMETERS)


def asked(call: Call) -> Prune | None:
    """What the query asks to be deleted; None: nothing. HttpError 400 if that is not said clearly."""
    query, labels = call.request.query_params, selection.labels(call)
    everything = flag(call, "all")
    if not flag(call, "prune"):
        if unused := [one.name for one in _ONLY_WITH_PRUNE if one.name in query]:
            raise HttpError(400, f"{unused[0]} has no meaning without prune")
        return None
    if bool(labels) == everything:
        raise HttpError(400, "prune needs either label=NAME=VALUE, or all=true for every resource")
    return Prune(labels, flag(call, "users"), flag(call, "certificates"), flag(call, "empty"))


def plan(call: Call) -> str:
    """The digest that the change must have; empty: any. HttpError 400."""
    given = call.request.query_params.get("plan", "")
    if given and not re.fullmatch(_PLAN, given):
        raise HttpError(400, "plan is the `plan` of a dry run: 32 hexadecimal digits")
    return given
