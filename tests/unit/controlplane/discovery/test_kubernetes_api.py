"""What the client of the Kubernetes API makes of files and responses that are not as they should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from controlplane.discovery import kubernetes_api as module
from controlplane.discovery.kubernetes_api import Access, ApiUnavailable, Garbled, KubernetesApi, Session


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"first-secret\nsecond-secret\n", "not one word of ASCII"),
        (b"secret\x00", "not one word of ASCII"),
        ("sécret".encode(), "not one word of ASCII"),
        (b"sec\xffret", "not one word of ASCII"),
    ],
)
async def test_a_file_without_a_token_is_named_and_not_shown(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ApiUnavailable) as caught:
        async with KubernetesApi(Access("https://127.0.0.1:1", file, tmp_path / "ca")).session():
            pass
    assert str(caught.value) == f"{file} has no token: {problem}"


def session(handler: Callable[[httpx.Request], httpx.Response]) -> Session:
    return Session(httpx.AsyncClient(base_url="https://kubernetes", transport=httpx.MockTransport(handler)))


class Stream(httpx.AsyncByteStream):
    """A body in these parts; the last one is repeated for ever if `endless`."""

    def __init__(self, *parts: bytes, endless: bool = False) -> None:
        self._parts = parts
        self._endless = endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        while self._endless:
            await asyncio.sleep(0.01)
            yield self._parts[-1]


def bookmark(version: int) -> bytes:
    return json.dumps(
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}
    ).encode()


async def versions(stream: Stream) -> list[str]:
    found = list[str]()
    opened = session(lambda request: httpx.Response(200, stream=stream))
    async with opened.watch("shop", {"a"}, "1") as events:
        async for event in events:
            found.append(event.version)
    return found


async def test_lines_of_a_watch_may_be_cut_anywhere() -> None:
    whole = b"\n".join([bookmark(1), b"", bookmark(2), bookmark(3), b"the rest is cut off"])
    for size in (1, 7, 64, len(whole)):
        parts = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert await versions(Stream(*parts)) == ["1", "2", "3"]


async def test_a_watch_that_only_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WATCH", 0.1)
    assert await versions(Stream(bookmark(7) + b"\n", b" ", endless=True)) == ["7"]


async def test_a_list_that_only_drips_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE", 0.1)
    with pytest.raises(ApiUnavailable):
        await session(lambda request: httpx.Response(200, stream=Stream(b" ", endless=True))).list(
            "shop", {"a"}
        )


async def test_an_error_that_only_drips_is_told_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER", 0.1)
    dripping = session(lambda request: httpx.Response(403, stream=Stream(b" ", endless=True)))
    with pytest.raises(ApiUnavailable, match=r"forbids it \(403\)$"):
        async with asyncio.timeout(5):
            await dripping.list("shop", {"a"})


async def test_a_list_without_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAGES", 3)
    page = {"items": [], "metadata": {"continue": "again"}}
    with pytest.raises(ApiUnavailable, match="more than 3 pages"):
        await session(lambda request: httpx.Response(200, json=page)).list("shop", {"a"})


@pytest.mark.parametrize("code", ["many", None, [410]])
async def test_an_error_without_a_code(code: object) -> None:
    event = json.dumps({"type": "ERROR", "object": {"code": code}}).encode() + b"\n"
    with pytest.raises(Garbled):
        await versions(Stream(event))
