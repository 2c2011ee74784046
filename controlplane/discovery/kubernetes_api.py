"""A thin client of the Kubernetes API: lists and watches EndpointSlices, and reads small documents.

The token and the authority are read for each session, because kubelet renews both; a session lasts some minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from controlplane.discovery.slices import SERVICE_LABEL, Slice, read

PAGE = 25
"""Slices of one response to a list: reading one with 2,500 endpoints takes 20 ms."""
MOST_PAGES = 4000
"""Pages of one list."""
MOST_BYTES = 32 << 20
"""Bytes of one page of a list, or of one event of a watch."""
MOST_REFUSAL = 64 << 10
"""Bytes of an error's body, which may have the server's words."""
WATCH: Final = (240, 480)
"""Seconds that a watch lasts."""
SILENCE = 90.0
"""Seconds without a byte after which a watch is given up; bookmarks arrive about once a minute."""
ANSWER = 10.0
"""Seconds until the API server must have answered."""
WHOLE = 60.0
"""Seconds until a page of a list must have arrived."""
LONGEST_WATCH = 600.0
"""Seconds after which a watch is ended here: its server did not, although it sends something now and then."""
FEW = 100
"""Most Services that a selector names one by one."""
LONGEST_MESSAGE = 200


class ApiUnavailable(Exception):
    """The API server does not answer, or refuses; the message says why and has no secret."""


class Garbled(ApiUnavailable):
    """The API server sends something else than the API describes."""


class Gone(Exception):
    """The watch cannot continue from this version (410): list again."""


@dataclass(frozen=True, slots=True)
class Access:
    """Address and credentials of the API server."""

    url: str
    token_file: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Listing:
    """The slices as of a version."""

    slices: list[Slice]
    version: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a watch. Without `put` and `removed` it is a bookmark: only the version is newer."""

    version: str
    put: Slice | None = None
    removed: str = ""


class KubernetesApi:
    """Opens sessions."""

    def __init__(self, access: Access) -> None:
        self._access = access

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection with the present token. Raises ApiUnavailable."""
        async with _client(self._access) as client:
            yield Session(client)

    async def get(self, path: str, media_type: str, most: int) -> bytes:
        """A document of at most `most` bytes. Raises ApiUnavailable, Gone."""
        async with _client(self._access, media_type) as client, _open(client, path) as response:
            return await _whole(response, most)

    def token(self) -> bytes:
        """The present token. Raises ApiUnavailable."""
        return _token(self._access.token_file).encode()


class Session:
    """Lists and watches over one client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def list(self, namespace: str, services: Collection[str]) -> Listing:
        """The slices of these Services. Raises ApiUnavailable, Gone."""
        found: list[Slice] = []
        query = {"labelSelector": selector(services), "limit": str(PAGE)}
        for _ in range(MOST_PAGES):
            page = await self._page(namespace, query)
            metadata = page.get("metadata") or {}
            made = filter(None, map(read, page.get("items") or ()))
            found += (each for each in made if each.service in services)
            if not (more := metadata.get("continue")):
                return Listing(found, str(metadata.get("resourceVersion") or ""))
            query["continue"] = str(more)
        raise ApiUnavailable(f"the API server sends more than {MOST_PAGES} pages")

    @contextlib.asynccontextmanager
    async def watch(
        self, namespace: str, services: Collection[str], version: str
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """The changes after a version, until the watch ends. It is open when the block begins.

        Raises ApiUnavailable, Gone.
        """
        query = {
            "labelSelector": selector(services),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(random.randint(*WATCH)),  # noqa: S311  # spreads load, guards nothing
        }
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(LONGEST_WATCH),
                self._open(namespace, query) as response,
                aclosing(_events(response)) as events,
            ):
                yield events

    async def _page(self, namespace: str, query: Mapping[str, str]) -> dict[str, Any]:
        async with self._open(namespace, query) as response:
            return _object(await _whole(response))

    def _open(self, namespace: str, query: Mapping[str, str]) -> AbstractAsyncContextManager[httpx.Response]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace)}/endpointslices"
        return _open(self._client, path, query)


@contextlib.asynccontextmanager
async def _open(
    client: httpx.AsyncClient, path: str, query: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.Response]:
    request = client.build_request("GET", path, params=query)
    try:
        async with asyncio.timeout(ANSWER):
            response = await client.send(request, stream=True)
    except (httpx.HTTPError, OSError) as error:
        raise ApiUnavailable(_reason(error)) from None
    try:
        if response.status_code != 200:
            await _refuse(response)
        yield response
    finally:
        await response.aclose()


def selector(services: Collection[str]) -> str:
    """Selects the Services by name, or by the label alone if there are many: the length of the URL is bounded."""
    if len(services) > FEW:
        return SERVICE_LABEL
    return f"{SERVICE_LABEL} in ({','.join(sorted(services))})"


@contextlib.asynccontextmanager
async def _client(access: Access, media_type: str = "application/json") -> AsyncIterator[httpx.AsyncClient]:
    headers = {
        "Accept": media_type,
        "Authorization": f"Bearer {_token(access.token_file)}",
        "User-Agent": "headgate-controlplane",
    }
    try:
        trusted = ssl.create_default_context(cafile=str(access.ca))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no certificate"
        raise ApiUnavailable(f"cannot read {access.ca}: {reason}") from None
    transport = httpx.AsyncHTTPTransport(verify=trusted, trust_env=False, socket_options=_KEEP_ALIVE)
    timeout = httpx.Timeout(ANSWER, read=SILENCE)
    async with httpx.AsyncClient(
        base_url=access.url, headers=headers, transport=transport, timeout=timeout, trust_env=False
    ) as client:
        yield client


def _token(file: Path) -> str:
    """The token in a file. Raises ApiUnavailable for one that no header can hold: httpx would show it in its error."""
    try:
        found = file.read_bytes().strip()
    except OSError as error:
        raise ApiUnavailable(f"cannot read {file}: {error.strerror}") from None
    if not re.fullmatch(rb"[!-~]+", found):
        raise ApiUnavailable(
            f"{file} has no token: {'it is empty' if not found else 'not one word of ASCII'}"
        )
    return found.decode()


_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]


async def _whole(response: httpx.Response, most: int = MOST_BYTES) -> bytes:
    """The body. Raises ApiUnavailable."""
    try:
        async with asyncio.timeout(WHOLE):
            return await _body(response, most)
    except (httpx.HTTPError, TimeoutError) as error:
        raise ApiUnavailable(_reason(error)) from None


async def _body(response: httpx.Response, most: int = MOST_BYTES) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > most:
            raise ApiUnavailable(f"the API server sends more than {most >> 10} KiB at once")
    return bytes(body)


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for part in response.aiter_bytes():
        # Only the new part is searched: the time for a long line grows with its length, not with its square.
        *ends, rest = part.split(b"\n")
        for end in ends:
            buffer += end
            if buffer:
                yield bytes(buffer)
            buffer.clear()
        buffer += rest
        if len(buffer) > MOST_BYTES:
            raise Garbled(f"the API server sends more than {MOST_BYTES >> 20} MiB at once")


async def _events(response: httpx.Response) -> AsyncGenerator[Event, None]:
    # A connection that breaks, or is silent for too long, ends the watch like the server: it continues in another one.
    with contextlib.suppress(httpx.HTTPError):
        async for line in _lines(response):
            yield _event(line)


def _event(line: bytes) -> Event:
    event = _object(line)
    kind, body = event.get("type"), event.get("object")
    if not isinstance(body, dict):
        raise Garbled("the API server sends what is no event")
    metadata = body.get("metadata") or {}
    version = str(metadata.get("resourceVersion") or "")
    if kind == "ERROR":
        raise _failure(body.get("code"), str(body.get("message") or ""))
    if kind in ("ADDED", "MODIFIED") and (made := read(body)) is not None:
        return Event(version, put=made)
    if kind in ("ADDED", "MODIFIED", "DELETED"):
        # A slice that lost its label belongs to no Service any more.
        return Event(version, removed=str(metadata.get("name") or ""))
    return Event(version)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Garbled("the API server sends no JSON object")
    return found


async def _refuse(response: httpx.Response) -> None:
    """Raises Gone or ApiUnavailable, with the API server's own words."""
    try:
        async with asyncio.timeout(ANSWER):
            body = await _body(response, MOST_REFUSAL)
        message = str(json.loads(body)["message"])
    except (ApiUnavailable, httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError, RecursionError):
        message = ""
    raise _failure(response.status_code, message)


def _failure(code: object, message: str) -> Exception:
    if code == 410:
        return Gone()
    if not isinstance(code, int):
        return Garbled("the API server sends an error without a code")
    meaning = {401: "does not accept the token", 403: "forbids it"}.get(code, "answers with an error")
    words = f": {message[:LONGEST_MESSAGE]}" if message else ""
    return ApiUnavailable(f"the API server {meaning} ({code}){words}")


def _reason(error: Exception) -> str:
    words = str(error) or (
        f"no response within {ANSWER:g} s" if isinstance(error, TimeoutError) else type(error).__name__
    )
    return f"the API server does not answer: {words[:LONGEST_MESSAGE]}"
