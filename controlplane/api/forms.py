"""How resources look under a path: their fields alone, or with `status` beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import create_model

from controlplane.api.operation import Call
from controlplane.api.shapes.base import Shape, StatusShape, VersionShape
from controlplane.aside import FEW
from controlplane.fleet import certificates
from controlplane.model import stored
from controlplane.model.listed import Listed
from controlplane.model.merge import unkeyed
from controlplane.model.resources import Certificate, Resource
from controlplane.model.stored import Stamped

Show = Callable[[Stamped], dict[str, object]]
"""Makes the response body for one resource; may be called in another thread."""


class Form:
    """The fields alone, as they are stored."""

    revalidates = True
    """Whether the ETag, which is the revision of the fields, changes with every change of the response."""

    few = FEW
    """Resources up to which a list is made on the event loop."""

    def __init__(self, model: type[Resource]) -> None:
        self.model = model
        """The model of a request body."""
        self.kind = model.KIND

    @property
    def schema(self) -> type[Resource]:
        """The schema of a response."""
        return self.model

    async def list(self, call: Call) -> Listed:
        """Every resource, sorted by name."""
        return await call.parts.commands.listed(self.kind)

    async def get(self, call: Call, name: str) -> Stamped:
        """One resource. Raises NotFound."""
        return await call.parts.commands.get(self.kind, name)

    async def show(self, call: Call) -> Show:
        """How resources are shown now."""
        return lambda stamped: stored.shown(stamped.resource)

    def taken(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """The fields in a body, which may be a patch. A response may be sent back as a body."""
        return document

    def whole(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """The fields of a whole resource in a body."""
        return document

    async def settle(self, call: Call, revision: int) -> None:
        """Return when a read of this control plane shows the change."""


class WithStatus(Form):
    """The fields, and `status`: which revision they have, and how many data planes serve it."""

    revalidates = False

    @property
    def schema(self) -> type[Resource]:
        return _with_status(self.model, StatusShape if self.model.DATA_PLANES else VersionShape)

    async def show(self, call: Call) -> Show:
        status = _status(call) if self.model.DATA_PLANES else _version
        fields = _fields_of_certificate(call) if self.kind == Certificate.KIND else stored.shown
        return lambda stamped: {**fields(stamped.resource), "status": status(stamped)}

    def taken(self, document: Mapping[str, object]) -> Mapping[str, object]:
        return {name: value for name, value in document.items() if name != "status"}

    def whole(self, document: Mapping[str, object]) -> Mapping[str, object]:
        return unkeyed(self.model, self.taken(document))


SETTLED_WITHIN = 1.0
"""Seconds that a response waits for the change to be published."""


async def published(call: Call, revision: int) -> None:
    """Wait until this control plane's views hold the revision; not for long, and not while the store is in doubt."""
    watcher, wake = call.parts.watcher, asyncio.Event()
    with watcher.changed.wakes(wake):
        try:
            async with asyncio.timeout(SETTLED_WITHIN):
                while call.parts.published_revision < revision and not watcher.frozen:
                    await wake.wait()
                    wake.clear()
        except TimeoutError:
            return


def _status(call: Call) -> Callable[[Stamped], dict[str, object]]:
    serving = call.parts.fleet.tally.serving()

    def status(stamped: Stamped) -> dict[str, object]:
        # A resource of a dry run has no revision: nobody serves it.
        done = serving.count(stamped.revision) if stamped.revision else 0
        return {"revision": stamped.revision, "serving": done, "connected": serving.connected}

    return status


def _fields_of_certificate(call: Call) -> Callable[[Resource], dict[str, object]]:
    """With the end of those that data planes read from files, as they report it."""
    ends = certificates.ends(call.parts.fleet.nodes.values())

    def fields(resource: Resource) -> dict[str, object]:
        made = stored.shown(resource)
        if made.get("files") and (end := ends.get(resource.name)):
            made["not_after"] = datetime.fromtimestamp(end, UTC).isoformat()
        return made

    return fields


def _version(stamped: Stamped) -> dict[str, object]:
    return {"revision": stamped.revision}


@cache
def _with_status(model: type[Resource], status: type[Shape]) -> type[Resource]:
    fields: dict[str, Any] = {"status": (status, ...)}
    return create_model(f"{model.__name__}Status", __base__=model, **fields)
