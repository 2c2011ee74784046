"""JSON merge patch (RFC 7396) on resources. PURE."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.model.resources import Resource
from controlplane.model.stored import shown


def merge(target: object, patch: object) -> object:
    """MergePatch of RFC 7396 §2: members of the patch replace those of the target, null removes them."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def patched(resource: Resource, patch: Mapping[str, object]) -> object:
    """The document of the resource after the patch. A field that is removed has its default.

    A list of `KEYED` is patched as an object by names if the patch has an object there; a list replaces it as a whole.
    """
    target = shown(resource)
    for field, key in resource.KEYED.items():
        listed = target.get(field)
        if isinstance(patch.get(field), Mapping) and isinstance(listed, list):
            target[field] = {one[key]: {**one, key: None} for one in listed}
    merged = merge(_without_null(target), patch)
    return unkeyed(type(resource), merged) if isinstance(merged, Mapping) else merged


def unkeyed(model: type[Resource], fields: Mapping[str, object]) -> Mapping[str, object]:
    """The fields with lists where `KEYED` ones are objects by names."""
    listed = {name: _listed(fields[name], key) for name, key in model.KEYED.items() if name in fields}
    return {**fields, **listed}


def _listed(value: object, key: str) -> object:
    if not isinstance(value, Mapping):
        return value
    return [{key: name, **one} if isinstance(one, Mapping) else one for name, one in value.items()]


def _without_null(value: object) -> object:
    """Null and absent mean the same in a resource."""
    if isinstance(value, Mapping):
        return {name: _without_null(inner) for name, inner in value.items() if inner is not None}
    return value
