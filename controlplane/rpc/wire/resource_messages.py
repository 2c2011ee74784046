"""Resources of the model as messages, field by field: a field of the message takes the model's field of its name.

So a new field or kind needs only the model and the .proto file, and no code here. Fields that are not in the .proto
file (such as a user's password) are not sent. A test holds both against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from controlplane.model.base import Part
from controlplane.model.resources import Route
from controlplane.model.stored import Stamped
from headgate_api.v1 import resources_pb2 as pb

M = TypeVar("M", bound=Message)
Convert = Callable[[Any], Any]


def resource(stamped: Stamped) -> pb.Resource:
    """A resource as data planes get it. TypeError for a kind that is not sent to them."""
    body = stamped.resource
    field = pb.Resource.DESCRIPTOR.fields_by_name.get(body.KIND)
    if field is None or field.message_type is None:
        raise TypeError(f"resources of kind {body.KIND} are not sent to data planes")
    content = message(GetMessageClass(field.message_type), body)
    created = stamped.created if isinstance(body, Route) else 0
    return pb.Resource(name=body.name, revision=stamped.revision, created=created, **{body.KIND: content})  # type: ignore[arg-type]


def message(made: type[M], value: Part) -> M:
    """A value of the model as a message of this class. None values are left out."""
    fields: dict[str, Any] = {}
    for name, source, convert in _converters(made.DESCRIPTOR, type(value)):
        found = getattr(value, source)
        if found is not None:
            fields[name] = convert(found) if convert else found
    return made(**fields)


@cache
def _converters(descriptor: Descriptor, model: type[Part]) -> tuple[tuple[str, str, Convert | None], ...]:
    """The source and the conversion of each field; None: it is taken as it is."""
    return tuple(
        (field.name, model.SENT_AS.get(field.name, field.name), _converter(field))
        for field in descriptor.fields
    )


def _converter(field: FieldDescriptor) -> Convert | None:
    convert = _single(field)
    if convert is None or not field.is_repeated or _is_map(field):
        return convert
    return lambda values: [convert(one) for one in values]


def _single(field: FieldDescriptor) -> Convert | None:
    if _is_map(field):
        return None
    if field.enum_type is not None:
        return numbers_of(field.enum_type).__getitem__
    if field.message_type is not None:
        made: type[Message] = GetMessageClass(field.message_type)
        return lambda value: _part(made, value)
    if field.type == FieldDescriptor.TYPE_STRING and field.is_repeated:
        # A condition for a retry is a word or a status.
        return str
    return None


def _part(made: type[Message], value: Part) -> Message | None:
    # A part that is switched off is left out.
    return message(made, value) if getattr(value, "enabled", True) else None


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@cache
def numbers_of(values: EnumDescriptor) -> Mapping[str, int]:
    """The numbers of an enum by the model's words: `LOAD_BALANCER_IP_HASH` of `LoadBalancer` is `ip_hash`."""
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", values.name).upper() + "_"
    return {one.name.removeprefix(prefix).lower(): one.number for one in values.values}
