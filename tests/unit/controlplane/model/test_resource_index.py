"""The index of references: a frozen copy stays as it was, whatever is changed afterwards."""

from __future__ import annotations

from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Route


def route(name: str, **fields: object) -> Route:
    return Route.model_validate({"name": name, "prefix": "/orders", "service_name": "orders", **fields})


def test_a_frozen_copy_does_not_change() -> None:
    one, two = route("one", methods=["GET"]), route("two", methods=["POST"])
    index = ResourceIndex({("route", "one"): one})
    before = index.frozen()
    index.add(("route", "two"), two)
    between = index.frozen()
    index.remove(("route", "one"), one)
    index.remove(("route", "two"), two)
    index.add(("route", "one"), one)
    index.remove(("route", "one"), one)

    assert before.needing(("service", "orders")) == {("route", "one")}
    assert between.needing(("service", "orders")) == {("route", "one"), ("route", "two")}
    assert index.needing(("service", "orders")) == frozenset()
    assert set(before.rivals(one)) == {"one"}
    assert set(between.rivals(one)) == {"one", "two"}
    assert index.rivals(one) == {}
