"""An earlier configuration as the difference from the current one, as data planes would get it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.model.base import parse_as
from controlplane.model.history import Edit, Fields
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Instance, Resource, ResourceId, Service, User, model_of
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped


def past_resources(
    edits: Iterable[Edit], current: Snapshot, revision: int
) -> tuple[tuple[Stamped, ...], tuple[ResourceId, ...]]:
    """The resources that were other ones at `revision`, and the names of those that were not there.

    `edits` lead from the configuration at `revision` to the current one. Instances that register themselves are the
    current ones, and so are the credentials of users. Raises InvalidConfig for values that can no longer be read.
    """
    changed: dict[ResourceId, Stamped] = {}
    removed: list[ResourceId] = []
    for edit in edits:
        model = model_of(edit.kind)
        if model is None or not model.DATA_PLANES:
            continue
        before = _read(model, edit.before, (edit.kind, edit.name))
        if before is None:
            removed.append((edit.kind, edit.name))
        else:
            changed[edit.kind, edit.name] = Stamped(_with_credentials(before, current), revision)
        if model is Service:
            there = {one.name: one for one in _static(edit.before, edit.name)}
            changed.update((("instance", name), Stamped(one, revision)) for name, one in there.items())
            gone = {one.name for one in _static(edit.after, edit.name)} - there.keys()
            if before is None:
                gone |= {f"{edit.name}/{one}" for one in current.instances_of.get(edit.name, ())}
            removed += [("instance", name) for name in sorted(gone)]
    return tuple(changed.values()), tuple(removed)


def _read(model: type[Resource], fields: Fields | None, identity: ResourceId) -> Resource | None:
    if fields is None:
        return None
    try:
        return parse_as(model, fields, stored=True)
    except InvalidConfig as error:
        where = "/".join(identity)
        raise InvalidConfig(Problem(where, str(problem)) for problem in error.problems) from None


def _static(fields: Fields | None, service: str) -> Iterator[Instance]:
    for one in (fields or {}).get("instances", ()):
        yield parse_as(Instance, {"service_name": service, **one}, stored=True)


def _with_credentials(resource: Resource, current: Snapshot) -> Resource:
    """The history has no credentials. A user who is gone gets empty ones, which end no token."""
    if not isinstance(resource, User):
        return resource
    known = current.resources.get((User.KIND, resource.name))
    credentials = known.resource.credentials if known and isinstance(known.resource, User) else ""
    return resource.model_copy(update={"credentials_id": credentials})
