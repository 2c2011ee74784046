"""Registrations as resources, validated like configuration from users."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Circuit, Instance, Service, parse
from controlplane.rpc.wire.resource_messages import numbers_of
from headgate_api.v1 import registry_pb2

_CIRCUIT_FIELDS = len(Circuit.model_fields)


def registration(request: registry_pb2.RegisterRequest) -> tuple[Instance, Service | None]:
    """The instance, and its service where one is declared. Raises InvalidConfig with every problem of both."""
    problems: list[Problem] = []
    instance = service = None
    if not request.HasField("instance"):
        problems.append(Problem("instance", "is required"))
    else:
        instance = _parsed("instance", _fields(request.instance), problems)
    if request.HasField("service"):
        service = _parsed("service", _service_fields(request), problems)
    if problems or not isinstance(instance, Instance):
        raise InvalidConfig(problems)
    return instance, service if isinstance(service, Service) else None


def _parsed(kind: str, fields: dict[str, Any], problems: list[Problem]) -> object:
    try:
        return parse(kind, fields, kind)
    except InvalidConfig as error:
        problems += error.problems
        return None


def _service_fields(request: registry_pb2.RegisterRequest) -> dict[str, Any]:
    fields = _fields(request.service)
    # Zero and absent are the same on the wire, and mean the default. Zero has a meaning in two fields if their part is
    # present: no retries, and failures that count whatever their share.
    if "retries" in fields:
        fields["retries"].setdefault("attempts", 0)
    if len(fields.get("circuit", ())) == _CIRCUIT_FIELDS - 1:
        fields["circuit"].setdefault("failure_ratio", 0.0)
    return fields


def _fields(message: Message) -> dict[str, Any]:
    """The fields that are set, as in a YAML document."""
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return _fields(value)
    if field.enum_type is not None:
        return _word(field.enum_type, value)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    return list(value) if field.is_repeated else value


def _word(values: EnumDescriptor, number: int) -> str | int:
    """The model's word for a number; one that is not known stays a number."""
    words = {known: word for word, known in numbers_of(values).items()}
    return words.get(number, number)
