"""The start page and the reference: whole, and nothing in it from elsewhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from controlplane.api import docs
from controlplane.api.kept import accepts_gzip
from controlplane.api.openapi import describe
from controlplane.api.operation import Operation
from controlplane.api.table import operations
from controlplane.aside import MOST_READS
from controlplane.model.base import parse_as
from controlplane.model.resources import Issuer, documents
from tests.support.api import Api


class Links(HTMLParser):
    """The ids of a page, and what it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            assert not name.startswith("on"), "no script"
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src"):
                self.targets.add(value or "")


async def test_the_start_page_leads_to_what_is_there(api: Api) -> None:
    answer = await api.client.get("/")
    assert answer.json()["version"] == "1.2.3"
    for path in answer.json()["links"].values():
        assert (await api.client.get(path)).status_code != 404
    api.parts.dashboard = False
    browser = await api.client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["Location"]) == (303, "/docs")


async def test_the_reference_needs_no_token_and_nothing_from_elsewhere(api: Api) -> None:
    answer = await api.client.get("/docs")
    assert answer.headers["Content-Type"].startswith("text/html")
    found = Links(answer.text)
    assert "script" not in found.tags
    assert len(found.ids) == len(set(found.ids))
    assert {target for target in found.targets if not target.startswith("#")} == {"/api/v1/openapi.json"}
    assert {target[1:] for target in found.targets if target.startswith("#")} <= set(found.ids)
    document = describe(operations(), "1.2.3")
    described = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert {*described, *(f"schema-{name}" for name in document["components"]["schemas"])} <= set(found.ids)
    for text in ("Matches this path and all paths below it", "gateway:admin", "Default: <code>5</code>"):
        assert text in answer.text


async def test_the_reference_is_made_once_and_keeps_nobody_else_waiting(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(table: Iterable[Operation], version: str) -> dict[str, Any]:
        made.append(version)
        return describe(table, version)

    monkeypatch.setattr(docs, "describe", counted)
    whole = (await api.client.get("/docs")).text
    api.parts.commands.reads._under_way = MOST_READS  # as if many large lists were asked for
    answers = await asyncio.gather(*(api.client.get("/docs") for _ in range(20)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, whole)}
    assert made == ["1.2.3"]


async def test_the_reference_lists_the_fields_of_forms(api: Api) -> None:
    page = (await api.client.get("/docs")).text
    for operation, field in (
        ("getToken", "grant_type"),
        ("getToken", "client_secret"),
        ("revokeToken", "token"),
    ):
        section = page.partition(f'<section id="{operation}">')[2].partition("</section>")[0]
        assert f"<code>{field}</code>" in section, (operation, field)


async def test_the_policy_lets_the_page_have_its_style_and_no_more(api: Api) -> None:
    answer = await api.client.get("/docs")
    style = re.search("<style>(.*)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert answer.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


@pytest.mark.parametrize("kind", [one for one in documents().values() if one is not Issuer])
def test_every_kind_has_an_example_that_is_valid(kind: type) -> None:
    example = kind.EXAMPLE  # type: ignore[attr-defined]
    assert example is not None
    parse_as(kind, example)


async def test_pages_of_named_origins_may_call(admin: httpx.AsyncClient, api: Api) -> None:
    from controlplane.api.application import make_api

    origin = {"Origin": "https://admin.example.org"}
    assert "Access-Control-Allow-Origin" not in (await admin.get("/api/v1/routes", headers=origin)).headers
    api.parts.cors_origins = ("https://admin.example.org",)
    transport = httpx.ASGITransport(make_api(api.parts), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        asked = {**origin, "Access-Control-Request-Method": "PATCH"}
        headers = {**asked, "Access-Control-Request-Headers": "authorization, if-match"}
        preflight = await client.options("/api/v1/routes/a", headers=headers)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
        token = admin.headers["Authorization"]
        answer = await client.get("/api/v1/routes", headers={**origin, "Authorization": token})
        assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        stranger = {**asked, "Origin": "https://evil.example"}
        assert (await client.options("/api/v1/routes/a", headers=stranger)).status_code == 400


@pytest.mark.parametrize("path", ["/docs", "/api/v1/openapi.json"])
async def test_it_is_compressed_and_revalidated(admin: httpx.AsyncClient, path: str) -> None:
    plain = await admin.get(path, headers={"Accept-Encoding": "identity"})
    packed = await admin.get(path, headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert "Content-Encoding" not in plain.headers
    assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert packed.text == plain.text
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 5
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for answer, coding in ((plain, "identity"), (packed, "gzip")):
        known = {"If-None-Match": answer.headers["ETag"], "Accept-Encoding": coding}
        again = await admin.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == answer.headers["ETag"]
        assert (await admin.get(path, headers=known | {"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP ; q=1.0", True),
        ("deflate, x-gzip", True),
        ("gzip;q=0, *", False),
        ("*;q=0, gzip", True),
        ("*", True),
        ("gzip;q=1.1.1", False),
        ("gzippy, identity", False),
    ],
)
def test_who_takes_gzip(field: str, accepted: bool) -> None:
    assert accepts_gzip(field) is accepted


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/docs/", "without a '/' at its end it does"),
        ("/api/v1/services/", "without a '/' at its end it does"),
        ("/api/v1/config/routes/orders/", "without a '/' at its end it does"),
        ("/api/v1/nothing/", "/docs and /api/v1/openapi.json list all paths"),
    ],
)
async def test_a_path_that_is_another_with_a_slash(api: Api, path: str, said: str) -> None:
    answer = await api.client.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (404, f"This path does not exist; {said}")
