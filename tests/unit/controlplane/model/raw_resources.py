"""Raw resources as documents have them, and what the model says of them."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import parse
from controlplane.model.stored import shown


def complaints(kind: str, raw: object) -> dict[str, str]:
    """What is wrong, by field; the last one where a field has several."""
    with pytest.raises(InvalidConfig) as caught:
        parse(kind, raw)
    return {problem.field: problem.detail for problem in caught.value.problems}


def service(**fields: Any) -> dict[str, Any]:
    return {"service_name": "orders", **fields}


def route(**fields: Any) -> dict[str, Any]:
    return {"name": "orders", "prefix": "/orders", "service_name": "orders", **fields}


def limit(**fields: Any) -> dict[str, Any]:
    return {"name": "few", "per_second": 1, "burst": 1, **fields}


def check_accepted(kind: str, raw: dict[str, Any]) -> None:
    """It is accepted, and reads the same after it was stored."""
    made = parse(kind, raw)
    for field, value in raw.items():
        if "password" not in field:
            assert shown(made)[field] == value or isinstance(value, dict | list)
    if kind != "user":
        assert parse(kind, shown(made)) == made


def check_refused(kind: str, raw: object, field: str, detail: str) -> None:
    """It is refused, and `detail` is a part of what is said of `field`."""
    found = complaints(kind, raw)
    assert detail in found.get(field, ""), found
