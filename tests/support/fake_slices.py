"""The part of the Kubernetes API that discovery uses, over HTTPS: lists in pages and watches, controlled by a test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.certificates import Authority
from tests.support.waiting import eventually

PATH = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


def endpoint(address: str, pod: str, **conditions: bool) -> dict[str, Any]:
    """A pod in a slice; ready unless told otherwise."""
    return {
        "addresses": [address],
        "conditions": {"ready": True} | conditions,
        "targetRef": {"kind": "Pod", "name": pod},
    }


@dataclass
class FakeApiServer:
    """Serves within the block. Every change gets a version, and is sent to the watches that are open."""

    authority: Authority
    token: str = "the-pods-token"
    """The one that is accepted."""
    refuses: int = 0
    """A status with which every request is refused; 0: none is."""
    page: int = 100
    """Slices in a page at most."""
    lists: int = 0
    watches: list[str] = field(default_factory=list)
    """The version from which each watch began."""
    selectors: set[str] = field(default_factory=set)
    version: int = 1000
    compacted: int = 0
    """Watches from earlier versions get 410."""
    _objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _generation: int = 0

    async def __aenter__(self) -> Self:
        cert, key = self.authority.issue("kubernetes")
        app = Starlette(routes=[Route(PATH, self._answer)])
        config = uvicorn.Config(
            app,
            ssl_certfile=str(cert),
            ssl_keyfile=str(key),
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._task = asyncio.create_task(self._server._serve([self._socket]))
        await eventually(lambda: self._server.started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()
        self._server.should_exit = True
        await self._task
        self._socket.close()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Token and authority, as a pod has them."""
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(self.token)
        return folder / "token", self.authority.certificate

    # Changes

    async def put(
        self,
        name: str,
        *endpoints: dict[str, Any],
        service: str = "orders",
        namespace: str = "shop",
        port: int = 8080,
    ) -> None:
        """Add or replace a slice."""
        self.version += 1
        made = {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "resourceVersion": str(self.version),
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": list(endpoints),
        }
        kind = "MODIFIED" if (namespace, name) in self._objects else "ADDED"
        self._objects[namespace, name] = made
        await self._send(kind, made)

    async def delete(self, name: str, namespace: str = "shop") -> None:
        """Delete a slice."""
        self.version += 1
        gone = self._objects.pop((namespace, name))
        gone["metadata"]["resourceVersion"] = str(self.version)
        await self._send("DELETED", gone)

    async def bookmark(self) -> None:
        """Tell the open watches a newer version."""
        self.version += 7
        body = {"kind": "EndpointSlice", "metadata": {"resourceVersion": str(self.version)}}
        await self._send("BOOKMARK", body)

    async def compact(self) -> None:
        """Forget the events so far."""
        self.version += 1
        self.compacted = self.version
        self._events.clear()

    async def fail(self, code: int) -> None:
        """End the open watches by an error within the stream."""
        await self._send("ERROR", {"kind": "Status", "code": code, "message": "too old resource version"})

    async def cut(self) -> None:
        """End the open watches."""
        async with self._changed:
            self._generation += 1
            self._changed.notify_all()

    async def _send(self, kind: str, body: dict[str, Any]) -> None:
        async with self._changed:
            self._events.append((self.version, kind, json.loads(json.dumps(body))))
            self._changed.notify_all()

    # Requests

    async def _answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        if self.refuses:
            return _status(self.refuses, 'endpointslices is forbidden: User "gate" cannot list resource')
        namespace, query = request.path_params["namespace"], request.query_params
        self.selectors.add(query["labelSelector"])
        if query.get("watch") == "true":
            version = int(query["resourceVersion"])
            self.watches.append(query["resourceVersion"])
            if version < self.compacted:
                return _status(410, "too old resource version")
            return StreamingResponse(self._watch(namespace, version), media_type="application/json")
        self.lists += 1
        return self._list(namespace, int(query.get("continue", "0")), min(int(query["limit"]), self.page))

    def _list(self, namespace: str, start: int, limit: int) -> Response:
        found = [one for (there, _), one in sorted(self._objects.items()) if there == namespace]
        more = str(start + limit) if len(found) > start + limit else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        return JSONResponse({"items": found[start : start + limit], "metadata": metadata})

    async def _watch(self, namespace: str, version: int) -> AsyncIterator[bytes]:
        generation = self._generation
        # An event may be larger than what arrives at once.
        while generation == self._generation:
            for number, kind, body in list(self._events):
                if number > version or (kind == "ERROR" and number >= version):
                    version = number
                    if (
                        body["metadata"].get("namespace", namespace) == namespace
                        if "metadata" in body
                        else True
                    ):
                        line = json.dumps({"type": kind, "object": body}).encode() + b"\n"
                        yield line[:20]
                        yield line[20:]
                    if kind == "ERROR":
                        self._events.clear()
                        return
            async with self._changed:
                if not any(number > version for number, _, _ in self._events):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(5):
                            await self._changed.wait()


def _status(code: int, message: str) -> Response:
    return JSONResponse({"kind": "Status", "code": code, "message": message}, code)
