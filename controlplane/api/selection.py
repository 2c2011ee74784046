"""What a list shows: resources with certain labels, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from controlplane.api.operation import Call, Parameter
from controlplane.api.problems import HttpError
from controlplane.model.stored import Stamped

MOST = 1000
"""Resources on a page."""

PARAMETERS = (
    Parameter(
        "label",
        "Only resources with this label: NAME=VALUE, or NAME for any value. Given several times, all must hold.",
        schema={"type": "array", "items": {"type": "string", "minLength": 1}},
    ),
    Parameter(
        "limit",
        "Resources on a page; left out, all. A Link header leads to the next page (RFC 8288).",
        schema={"type": "integer", "minimum": 1, "maximum": MOST},
    ),
    Parameter("after", "Only resources whose names come after this one."),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The query of a list."""

    labels: tuple[tuple[str, str | None], ...] = ()
    """Names with values; None: any value."""
    limit: int | None = None
    after: str = ""

    def page(self, found: Sequence[Stamped]) -> tuple[list[Stamped], str]:
        """What is shown of resources that are sorted by name, and the last one's name if there are more."""
        chosen = [one for one in found if one.resource.name > self.after and self._fits(one)]
        if self.limit is None or len(chosen) <= self.limit:
            return chosen, ""
        return chosen[: self.limit], chosen[self.limit - 1].resource.name

    def _fits(self, one: Stamped) -> bool:
        labels = one.resource.labels
        return all(name in labels and value in (None, labels[name]) for name, value in self.labels)


def asked(call: Call) -> Selection:
    """The selection that the query asks for. HttpError 400, for unknown parameters too."""
    query = call.request.query_params
    if unknown := sorted(set(query) - {one.name for one in PARAMETERS}):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}: a list takes label, limit and after")
    limit = query.get("limit")
    if limit is not None and not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST):
        raise HttpError(400, f"limit must be 1 to {MOST}")
    return Selection(
        tuple(map(_label, query.getlist("label"))), int(limit) if limit else None, query.get("after", "")
    )


def link(call: Call, last: str) -> dict[str, str]:
    """The header that leads to the page after the resource `last`; none for the last page."""
    if not last:
        return {}
    kept = [(name, value) for name, value in call.request.query_params.multi_items() if name != "after"]
    return {"Link": f'<{call.request.url.path}?{urlencode([*kept, ("after", last)])}>; rel="next"'}


def _label(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name:
        raise HttpError(400, "label must be NAME=VALUE or NAME")
    return name, value if equals else None
