"""Edits of header fields, on their way to a service or back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import Field

from controlplane.model.base import Part
from controlplane.model.fields import HEADER, VISIBLE, AsList, Unique
from controlplane.model.problems import Problem

_HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade", "http2-settings"),
    }
)
REQUEST: Final = _HOP_BY_HOP | {
    *("content-length", "expect", "forwarded", "host", "max-forwards", "traceparent", "tracestate", "via"),
    *(
        "x-auth-scopes",
        "x-auth-subject",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ),
}
"""Fields of requests that the gateway writes itself."""
RESPONSE: Final = _HOP_BY_HOP | {"content-length", "date", "x-request-id"}
"""Fields of responses that the gateway writes itself."""
VARIABLES: Final = ("address", "subject", "route", "request_id")
"""Beside `claim:NAME`."""
_VARIABLE: Final = re.compile(r"%\{([^}]*)(\}?)")
_CLAIM: Final = re.compile(r"claim:[!-z|~]{1,64}")

_FieldName = Annotated[str, Field(pattern=HEADER)]
_Value = Annotated[str, Field(pattern=VISIBLE, max_length=4096)]


class HeaderEdits(Part):
    """Changes of header fields: removals first, then `set`, then `add`. Names are in lower case and ignore case.

    Values may contain variables: %{address}, %{subject}, %{claim:NAME}, %{route}, %{request_id}.
    """

    set: Annotated[
        dict[_FieldName, _Value],
        Field(max_length=32, description="Fields that replace those of their names."),
    ] = Field(default_factory=dict)
    add: Annotated[
        dict[_FieldName, _Value],
        Field(max_length=32, description="Fields that are added to those of their names."),
    ] = Field(default_factory=dict)
    remove: Annotated[
        tuple[_FieldName, ...], AsList, Field(max_length=32, description="Names of fields to remove."), Unique
    ] = ()

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """Variables that exist."""
        for kind in ("set", "add"):
            values = fields.get(kind)
            for name, value in values.items() if isinstance(values, Mapping) else ():
                if isinstance(value, str) and (detail := _wrong_variable(value)):
                    yield Problem(f"{kind}.{name}", detail)


def protected(field: str, edits: object, names: frozenset[str]) -> Iterable[Problem]:
    """The edits of fields that the gateway writes itself. Names count as CGI-style servers read them."""
    for kind in ("set", "add", "remove"):
        given = edits.get(kind) if isinstance(edits, Mapping) else getattr(edits, kind, None)
        for name in given if isinstance(given, Mapping | list | tuple) else ():
            if isinstance(name, str) and re.sub("[^a-z0-9]", "-", name.lower()) in names:
                yield Problem(
                    f"{field}.{kind}", f"must not contain {name}: the gateway writes this field itself"
                )


def _wrong_variable(value: str) -> str | None:
    for name, end in _VARIABLE.findall(value):
        if not end:
            return "has a %{ without }"
        if name not in VARIABLES and not _CLAIM.fullmatch(name):
            return f"has the variable {name!r}; there are {', '.join(VARIABLES)} and claim:NAME"
    return None
