"""What the generated pages are made from is complete; `make check` compares the pages themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controlplane import log_fields as controlplane
from controlplane.api.recorder import RequestRecord
from dataplane.observe import log_fields as dataplane
from dataplane.observe.lines import JsonLines
from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.messages import NO_IDENTITY, Context, Provenance, Request
from tests.support.pages import DOCS, prose
from tests.support.reference import logs, metrics
from tests.support.reference.__main__ import PAGES
from tests.support.reference.schema import Schemas, code, value_of


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_its_source(name: str) -> None:
    assert "This page is made from the" in " ".join(PAGES[name]().split())


def test_examples_of_the_sdk_are_blocks_of_code() -> None:
    code = re.compile(r"(async|await|class|def|for|from|import|with) .*[:)]$|asyncio\.run")
    assert not [line for _, line in prose(DOCS / "reference/sdk.md") if code.match(line)]


def test_a_coroutine_is_awaited() -> None:
    assert "\nawait headgate.grpc_server.serve(\n" in PAGES["sdk.md"]()


QUERIES = {name: query for _, _, queries in metrics.families() for name, query in queries.items()}


@pytest.mark.parametrize(("name", "query"), QUERIES.items(), ids=QUERIES)
def test_a_query_asks_for_its_metric(name: str, query: str) -> None:
    assert name in query
    opened = list[str]()
    for character in query:
        if character in "([{":
            opened.append({"(": ")", "[": "]", "{": "}"}[character])
        elif character in ")]}":
            assert opened.pop() == character
    assert not opened


def test_every_field_of_the_access_log_has_a_meaning() -> None:
    request = Request()
    request.method, request.host, request.path, request.sent_path = "GET", "example.org", "/orders", None
    request.provenance = provenance = Provenance()
    provenance.context = Context(b"0" * 32, b"01")
    exchange = Exchange(cast(Any, SimpleNamespace(address="192.0.2.1")), request, b"0" * 32)
    exchange.identity, exchange.reason, exchange.shadowed = NO_IDENTITY, "why", ("callers",)
    exchange.plan = Forwarding("orders", "orders")
    line = json.loads(JsonLines().line(exchange, "orders", "orders", 0.001))
    assert line.keys() == dataplane.REQUEST.keys()


def test_every_field_of_an_admin_request_has_a_meaning() -> None:
    record = RequestRecord("1", "GET", "/health", author="admin", revision=1, dry_run=True)
    assert record.fields().keys() == controlplane.REQUEST.keys()


def test_schemas_in_words() -> None:
    schemas = Schemas({"Part": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1000}}}})
    assert schemas.words({"$ref": "#/$defs/Part"}) == "object"
    assert schemas.words(
        {"anyOf": [{"type": "number", "minimum": 0.1, "maximum": 60}, {"type": "null"}]}
    ) == ("number, 0.1 to 60")
    assert schemas.words({"type": "array", "items": {"type": "boolean"}, "maxItems": 4}) == (
        "list of at most 4; each: true or false"
    )
    assert schemas.words({"enum": ["a", "b"]}) == "one of `a`, `b`"
    values: tuple[object, ...] = (True, 30.0, [], ("a", "b"))
    assert [value_of(value) for value in values] == ["`true`", "`30`", "", "`[a, b]`"]
    assert code("a|b <c>") == "<code>a&#124;b &lt;c&gt;</code>"


def test_the_fields_of_a_message_are_those_it_is_logged_with(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "extra = {'revision': 1}\n"
        "logger.info('applied', extra=extra)\n"
        "extra = {'problems': []}\n"
        "logger.error('revision %d rejected', 1, extra=_about() | extra)\n"
        "def _about():\n"
        "    return {'node': 'gateway-1'}\n"
    )
    assert list(logs.lines_in(source)) == [
        logs.Line("applied", "info", ("revision",)),
        logs.Line("revision … rejected", "error", ("problems", "node")),
    ]
