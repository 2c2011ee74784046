"""Services with their instances as the fleet sees them, and draining of instances, and its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import cache
from typing import Any, Literal

from pydantic import create_model
from starlette.responses import Response

from controlplane.api import rollout
from controlplane.api.answers import json_answer
from controlplane.api.forms import Show, WithStatus, published
from controlplane.api.operation import ADMIN, ROOT, Answer, Call, Operation
from controlplane.api.problems import HttpError
from controlplane.api.shapes.base import RevisionShape, moment
from controlplane.api.shapes.changes import RolloutShape
from controlplane.api.shapes.services import DiscoveryShape, InstanceShape
from controlplane.commands.errors import NotFound
from controlplane.fleet.views import InstanceView
from controlplane.model.discovered import State
from controlplane.model.listed import Listed
from controlplane.model.resources import Instance, Resource, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped

_SEEN = frozenset({"status", "last_check", "reason", "workers", "source"})
"""Fields from the fleet's reports on an instance, which cannot be written."""


class ServiceForm(WithStatus):
    """The fields, and every instance by its id, registered ones too; also while the store does not answer."""

    few = 256  # called often, and by many clients at once, while only a few `Reads` may be under way

    def __init__(self) -> None:
        super().__init__(Service)

    @property
    def schema(self) -> type[Resource]:
        return _seen(super().schema)

    async def list(self, call: Call) -> Listed:
        snapshot = call.parts.snapshot()
        return Listed(Service.KIND, snapshot.services, snapshot.resources)

    async def get(self, call: Call, name: str) -> Stamped:
        found = call.parts.snapshot().resources.get((Service.KIND, name))
        if found is None:
            raise NotFound(Service.KIND, name)
        return found

    async def show(self, call: Call) -> Show:
        workers, snapshot = await call.parts.commands.workers(), call.parts.snapshot()
        fields, view_of = await super().show(call), call.parts.fleet.views.viewer(snapshot)
        states = call.parts.watcher.discovery_states()

        def show(stamped: Stamped) -> dict[str, object]:
            service = stamped.resource
            assert isinstance(service, Service)
            view = view_of(service)
            static = {one.instance_id for one in service.instances}
            shown = {
                one.instance.instance_id: _instance(one, snapshot, workers, static) for one in view.instances
            }
            instances = {name: one.model_dump() for name, one in shown.items()}
            seen = {"instances": instances, "healthy": view.healthy, "total": view.total}
            return {**fields(stamped), **seen, "discovered": _discovery(states.get(service.name))}

        return show

    def taken(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """Without the fleet's reports. Registered instances are not fields of the service."""
        fields = {
            name: value
            for name, value in super().taken(document).items()
            if name not in ("healthy", "total", "discovered")
        }
        if isinstance(keyed := fields.get("instances"), Mapping):
            fields["instances"] = {name: _named(one) for name, one in keyed.items() if not _elsewhere(one)}
        return fields

    async def settle(self, call: Call, revision: int) -> None:
        await published(call, revision)


def _elsewhere(instance: object) -> bool:
    """Whether an instance comes from a registration or from discovery, and is no field of the service."""
    if not isinstance(instance, Mapping):
        return False
    return instance.get("workers") not in (None, 0) or instance.get("source") == "discovered"


def _named(instance: object) -> object:
    if not isinstance(instance, Mapping):
        return instance
    return {name: value for name, value in instance.items() if name not in _SEEN}


@cache
def _seen(model: type[Resource]) -> type[Resource]:
    fields: dict[str, Any] = {
        "instances": (dict[str, InstanceShape], ...),
        "healthy": (int, ...),
        "total": (int, ...),
        "discovered": (DiscoveryShape | None, ...),
    }
    return create_model(model.__name__, __base__=model, **fields)


def _discovery(state: State | None) -> dict[str, object] | None:
    if state is None:
        return None
    shape = DiscoveryShape(
        source=state.source, instances=state.instances, problem=state.problem, since=moment(state.since)
    )
    return shape.model_dump()


def _instance(
    view: InstanceView, snapshot: Snapshot, workers: Mapping[str, int], static: Set[str]
) -> InstanceShape:
    name = view.instance.name
    stamped = snapshot.resources.get((Instance.KIND, name))
    registered = stamped is not None and stamped.lease
    return InstanceShape(
        status=view.status.value,
        last_check=moment(view.last_check),
        reason=view.reason,
        host=view.instance.host,
        port=view.instance.port,
        weight=view.instance.weight,
        metadata=dict(view.instance.metadata),
        workers=workers.get(name, 1) if registered else 0,
        source=_source(view.instance.instance_id, bool(registered), static),
    )


def _source(
    instance_id: str, registered: bool, static: Set[str]
) -> Literal["registered", "static", "discovered"]:
    if registered:
        return "registered"
    return "static" if instance_id in static else "discovered"


async def drain(call: Call) -> Response:
    """Marks the instance as draining; with `wait`, answers when its last request has ended, or 504."""
    service, instance = call.path("service"), call.path("instance")
    if "quorum" in call.request.query_params:
        raise HttpError(400, "Unknown parameter 'quorum'")
    wait = rollout.asked(call)
    revision = await call.parts.commands.drain(service, instance)
    call.record.revision = revision
    if wait is None:
        return json_answer({"revision": revision}, 202)
    seen = await call.parts.waiting.drained(service, instance, revision, wait.seconds)
    receipt = rollout.shown(seen).model_dump()
    if seen.complete:
        return json_answer(receipt)
    which = seen.problem or ", ".join(map(str, seen.stragglers[:10]))
    detail = f"Instance {service}/{instance} takes no new requests, but is not drained: {which}"
    raise HttpError(504, detail, more=receipt)


async def undrain(call: Call) -> Response:
    """Lets a draining instance take requests again."""
    call.record.revision = await call.parts.commands.undrain(call.path("service"), call.path("instance"))
    return json_answer({"revision": call.record.revision}, 202)


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer; services themselves are in `api.resources`."""
    ordered = Answer(202, "The order is being sent to the data planes", RevisionShape)
    path = f"{ROOT}/services/{{service}}/instances/{{instance}}/drain"
    yield Operation(
        method="POST",
        path=path,
        handler=drain,
        access=ADMIN,
        id="drainInstance",
        summary="Drain an instance: it gets no new requests, and requests under way finish",
        answers=(Answer(200, "No request is under way there any more", RolloutShape), ordered),
        tag="fleet",
        parameters=rollout.PARAMETERS[:1],
        refusals=(400, 404, 409, 504),
    )
    yield Operation(
        method="DELETE",
        path=path,
        handler=undrain,
        access=ADMIN,
        id="undrainInstance",
        summary="Undo the drain: the instance gets requests again",
        answers=(ordered,),
        tag="fleet",
        refusals=(404, 409),
    )
