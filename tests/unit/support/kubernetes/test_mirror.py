"""Objects that are listed once and then followed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.kubernetes.mirror import Mirror
from tests.support.waiting import eventually_now


def service(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name}, **fields}


def line(kind: str, found: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "object": found}) + "\n"


class Events(httpx.SyncByteStream):
    """One event after the list, then the end."""

    def __iter__(self) -> Iterator[bytes]:
        yield line("ADDED", service("b")).encode()


def test_lists_and_then_follows() -> None:
    asked: list[dict[str, str]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        if "watch" in request.url.params:
            return httpx.Response(200, stream=Events())
        return httpx.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": [service("a")]})

    mirror = Mirror(httpx.Client(transport=httpx.MockTransport(handle), base_url="https://api"), "/services")
    mirror.start()
    assert ("shop", "a") in mirror.objects
    eventually_now(lambda: ("shop", "b") in mirror.objects)
    assert asked[:2] == [{}, {"watch": "true", "resourceVersion": "7"}]


def test_changes_and_ends() -> None:
    mirror = Mirror(httpx.Client(), "/services")
    changed = service("a", spec={})
    mirror.follow([line("ADDED", service("a")), line("MODIFIED", changed), line("ADDED", service("b"))])
    assert mirror.objects == {("shop", "a"): changed, ("shop", "b"): service("b")}
    mirror.follow([line("DELETED", changed)])
    assert list(mirror.objects) == [("shop", "b")]


def test_a_version_that_is_too_old_is_listed_again() -> None:
    with pytest.raises(ValueError, match="ERROR"):
        Mirror(httpx.Client(), "/services").follow([line("ERROR", {"code": 410})])
