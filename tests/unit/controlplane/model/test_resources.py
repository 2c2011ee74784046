"""What holds for resources of every kind."""

from __future__ import annotations

import pytest

from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import KINDS, Instance, Route, documents, parse
from tests.unit.controlplane.model import test_access, test_route, test_service
from tests.unit.controlplane.model.raw_resources import route


def test_kinds_have_their_names_of_the_contract() -> None:
    assert set(KINDS) == {
        "service",
        "instance",
        "certificate",
        "listener",
        "pool",
        "route",
        "scope",
        "user",
        "rate_limit",
        "issuer",
    }
    kinds = {"services", "routes", "scopes", "users", "rate_limits", "certificates", "listeners", "issuers"}
    assert set(documents()) == kinds | {"pools"}


def test_one_wrong_field_is_one_problem() -> None:
    """What is not built yet stands alone on its field, and nothing is told twice."""
    for kind, raw, _, _ in (*test_service.BAD, *test_route.BAD, *test_access.BAD):
        with pytest.raises(InvalidConfig) as caught:
            parse(kind, raw)
        said = [str(problem) for problem in caught.value.problems]
        assert len(said) == len(set(said))
        if any("not built yet" in text for text in said):
            assert len(said) == 1


def test_resources_do_not_change() -> None:
    made = parse("route", route())
    with pytest.raises(ValueError, match="frozen"):
        made.name = "other"  # type: ignore[misc]


def test_names() -> None:
    assert parse("route", route()).name == "orders"
    assert parse("user", {"username": "u"}).name == "u"
    assert Instance(service_name="orders", instance_id="a", host="h", port=1).name == "orders/a"


def test_constructors_are_as_strict_as_documents() -> None:
    with pytest.raises(ValueError, match="together with prefix"):
        Route(name="a", prefix="/", path="/", service_name="a")
    with pytest.raises(ValueError, match="must be a whole number"):
        Instance(service_name="a", instance_id="b", host="h", port="80")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_schema_with_bounds(kind: str) -> None:
    schema = KINDS[kind].model_json_schema()
    assert schema["additionalProperties"] is False
    for name, found in schema["properties"].items():
        choices = found.get("anyOf", [found])
        for choice in choices:
            if choice.get("type") in ("integer", "number"):
                assert {"minimum", "maximum"} <= choice.keys() | found.keys(), name
            if choice.get("type") == "string" and "const" not in choice and "enum" not in choice:
                assert {"maxLength", "pattern"} & (choice.keys() | found.keys()), name
            if choice.get("type") == "array":
                assert "maxItems" in choice.keys() | found.keys(), name
