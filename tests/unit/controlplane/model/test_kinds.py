"""A kind is declared by its class and listed once: a toy kind is stored, referenced, published, and described."""

from __future__ import annotations

from typing import Annotated, ClassVar

import httpx
import pytest

from controlplane.api.application import make_api
from controlplane.api.openapi import describe
from controlplane.api.table import operations
from controlplane.model import resources
from controlplane.model.base import Resource
from controlplane.model.config import build
from controlplane.model.fields import AsList, Name, ScopeName
from tests.support.api import running_api


class Toy(Resource):
    """A kind that no Headgate has."""

    KIND: ClassVar[str] = "toy_box"
    PLURAL: ClassVar[str] = "toy_boxes"
    REFERENCES: ClassVar[dict[str, str]] = {"scopes[]": "scope"}

    name: Name
    scopes: Annotated[tuple[ScopeName, ...], AsList] = ()
    size: float = 1.0


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line in `model.resources` that a new kind takes."""
    monkeypatch.setitem(resources._KINDS, Toy.KIND, Toy)


async def test_a_toy_kind_lives_like_any_other() -> None:
    async with running_api() as api:
        transport = httpx.ASGITransport(make_api(api.parts), raise_app_exceptions=False)
        headers = await api.token()
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost:8080", headers=headers
        ) as client:
            document = {"toy_boxes": [{"name": "a", "scopes": ["orders:read"]}]}
            assert (await client.post("/api/v1/apply", json=document)).status_code == 200
            wrong = await client.put("/api/v1/config/toy-boxes/b", json={"scopes": ["nowhere"], "colour": 1})
            assert {error["field"] for error in wrong.json()["errors"]} == {"scopes[0]", "colour"}
            found = await client.get("/api/v1/config/toy-boxes/a")
            assert found.json() == {
                "name": "a",
                "scopes": ["orders:read"],
                "size": 1.0,
                "description": "",
                "labels": {},
            }
            needed = await client.delete("/api/v1/config/scopes/orders:read")
            assert "is needed by toy_box 'a'" in needed.text
        listing = await api.store.list("/headgate/v1/")
        assert build(listing.entries, listing.revision).of(Toy)["a"].size == 1.0
        assert (await api.parts.commands.changes(list))[0].actions == (("create", "toy_box", "a"),)


def test_a_toy_kind_is_described() -> None:
    described = describe(operations(), "1.2.3")
    assert "putConfigToy" in str(described["paths"]["/api/v1/config/toy-boxes/{name}"])
    assert "size" in str(described["components"]["schemas"])
