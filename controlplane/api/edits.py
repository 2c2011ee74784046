"""The effects of a change on resources, as answers show them."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.api.shapes.changes import EditShape, FieldShape
from controlplane.model.history import Edit, differences


def edit_shape(one: Edit) -> EditShape:
    """The effect of a change on one resource, as programs read it."""
    return EditShape(
        action=one.action,
        kind=one.kind,
        name=one.name,
        before=dict(one.before) if one.before is not None else None,
        after=dict(one.after) if one.after is not None else None,
        fields=list(_fields(one)),
        password=one.password,
    )


def _fields(one: Edit) -> Iterable[FieldShape]:
    if one.before is not None and one.after is not None:
        for field, old, new in differences(one.before, one.after):
            yield FieldShape(field=field, before=old, after=new)
