"""Messages of other versions: of a later one, with unknown fields, and of the last released one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypeVar

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from headgate_api.v1 import config_pb2, limits_pb2, questions_pb2, registry_pb2, resources_pb2, status_pb2

BASELINE = Path(__file__).resolve().parents[2] / "proto" / "baseline.binpb"
MARK = "of a later version"
UNKNOWN_MESSAGE = b"\xa2\x06\x03new"
"""Field 100 of a message, three bytes long: one more choice of a oneof."""

_FIELD = "of_a_later_version"
_MODULES = (resources_pb2, status_pb2, limits_pb2, questions_pb2, config_pb2, registry_pb2)

M = TypeVar("M", bound=Message)


def later(message: M) -> M:
    """The message of a later version: MARK in a separate field, in it and in every part of it."""
    made = GetMessageClass(_later().FindMessageTypeByName(message.DESCRIPTOR.full_name))()
    made.ParseFromString(message.SerializeToString())
    _mark(made)
    return type(message).FromString(made.SerializeToString())


def released(message: M) -> M:
    """The message as the last released version would have sent or forwarded it."""
    made = GetMessageClass(_released().FindMessageTypeByName(message.DESCRIPTOR.full_name))()
    made.ParseFromString(message.SerializeToString())
    made.DiscardUnknownFields()
    return type(message).FromString(made.SerializeToString())


def marks(message: Message | bytes) -> int:
    """The number of marks of a later version in it."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return data.count(MARK.encode())


def _mark(message: Message) -> None:
    setattr(message, _FIELD, MARK)
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else [value]:
            _mark(part)


@cache
def _later() -> DescriptorPool:
    files = []
    for module in _MODULES:
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            _extend(message)
        files.append(file)
    return _pool(files)


def _extend(message: DescriptorProto) -> None:
    message.field.add(
        name=_FIELD,
        number=15_000,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    for nested in message.nested_type:
        if not nested.options.map_entry:
            _extend(nested)


@cache
def _released() -> DescriptorPool:
    return _pool(FileDescriptorSet.FromString(BASELINE.read_bytes()).file)


def _pool(files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    pool = DescriptorPool()
    waiting = {file.name: file for file in files}
    while waiting:
        name = next(name for name, file in waiting.items() if not waiting.keys() & set(file.dependency))
        pool.Add(waiting.pop(name))
    return pool
