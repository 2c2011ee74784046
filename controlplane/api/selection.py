"""The selection of a list: resources with certain labels, a page at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlencode

from controlplane.api.numbers import whole
from controlplane.api.operation import Call, Parameter
from controlplane.api.problems import HttpError
from controlplane.model.fields import LABEL, LABEL_VALUE
from controlplane.model.labels import selects
from controlplane.model.listed import Listed
from controlplane.model.resources import KINDS, ResourceId
from controlplane.model.stored import Stamped
from controlplane.model.words import PATTERNS

MOST = 1000
"""Resources on a page."""

PARAMETERS = (
    Parameter(
        "label",
        "Only resources with this label: NAME=VALUE, or NAME for any value. If given several times, all must match.",
        schema={"type": "array", "items": {"type": "string", "minLength": 1}},
    ),
    Parameter(
        "limit",
        "Resources per page; by default all. A Link header leads to the next page (RFC 8288).",
        schema={"type": "integer", "minimum": 1, "maximum": MOST},
    ),
    Parameter("after", "Only resources with names after this one."),
    Parameter(
        "contains",
        "Only resources whose names contain this text.",
        schema={"type": "string", "maxLength": 253},
    ),
    Parameter(
        "uses",
        "Only resources that name this one: KIND/NAME, for instance service/orders or rate_limit/per-caller.",
    ),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The query of a list."""

    labels: tuple[tuple[str, str | None], ...] = ()
    """Names with values; None: any value."""
    limit: int | None = None
    after: str = ""
    contains: str = ""
    uses: ResourceId | None = None
    """The resource that they name."""

    def page(self, found: Listed) -> tuple[list[Stamped], str]:
        """The shown part of the resources, and the last name if there are more."""
        fitting = (
            filter(self._fits, found.after(self.after))
            if self.labels or self.contains
            else found.after(self.after)
        )
        chosen = list(fitting if self.limit is None else islice(fitting, self.limit + 1))
        if self.limit is None or len(chosen) <= self.limit:
            return chosen, ""
        del chosen[self.limit :]
        return chosen, chosen[-1].resource.name

    def _fits(self, one: Stamped) -> bool:
        if self.contains not in one.resource.name:
            return False
        return selects(self.labels, one.resource.labels)


def asked(call: Call) -> Selection:
    """The selection that the query asks for. HttpError 400, for unknown parameters too."""
    query = call.request.query_params
    if unknown := sorted(set(query) - {one.name for one in PARAMETERS}):
        raise HttpError(
            400, f"Unknown parameter {unknown[0]!r}: a list takes label, limit, after, contains and uses"
        )
    given = query.get("limit")
    limit = None if given is None else whole(given, MOST)
    if given is not None and limit is None:
        raise HttpError(400, f"limit must be 1 to {MOST}")
    uses = resource_id(query["uses"]) if "uses" in query else None
    return Selection(labels(call), limit, query.get("after", ""), query.get("contains", ""), uses)


def resource_id(text: str) -> ResourceId:
    """Kind and name of `KIND/NAME`. HttpError 400."""
    kind, _, name = text.partition("/")
    if kind not in KINDS or not name:
        raise HttpError(400, f"{text[:80]!r} must be KIND/NAME, such as service/orders")
    return kind, name


async def narrowed(call: Call, chosen: Selection, found: Listed) -> Listed:
    """Those of the list that name the wanted resource; an index has them."""
    if chosen.uses is None:
        return found
    users = await call.parts.commands.users_of(chosen.uses)
    names = sorted(name for kind, name in users if kind == found.kind and (kind, name) in found.resources)
    return Listed(found.kind, names, found.resources)


def link(call: Call, last: str) -> dict[str, str]:
    """The header that leads to the page after the resource `last`; none for the last page."""
    if not last:
        return {}
    kept = [(name, value) for name, value in call.request.query_params.multi_items() if name != "after"]
    return {"Link": f'<{call.request.url.path}?{urlencode([*kept, ("after", last)])}>; rel="next"'}


def labels(call: Call) -> tuple[tuple[str, str | None], ...]:
    """The labels that the query names. HttpError 400."""
    # Each once: they are looked for in every resource, on the event loop.
    return tuple(dict.fromkeys(map(_label, call.request.query_params.getlist("label"))))


def _label(text: str) -> tuple[str, str | None]:
    """HttpError 400 for what no resource can have: a list of them would be empty, as if there were none."""
    name, equals, value = text.partition("=")
    for what, said, pattern in (("name", name, LABEL), ("value", value, LABEL_VALUE)):
        if not re.fullmatch(pattern, said):
            expected = f"the {what} is {PATTERNS[pattern]}"
            raise HttpError(
                400,
                f"label {text[:80]!r}: {expected}. Send NAME=VALUE or NAME, and label= again for each further one",
            )
    return name, value if equals else None
