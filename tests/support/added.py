"""Fields that were added to the wire after the last release, and their declarations in the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from controlplane.model.base import Part
from controlplane.model.capabilities import parts_in
from tests.support.skew import BASELINE

Released = Mapping[str, frozenset[str]]
"""The fields of each message of a release, by the message's name."""


def released() -> Released:
    """The fields of the release from which `proto/baseline.binpb` was made."""
    files = FileDescriptorSet.FromString(BASELINE.read_bytes()).file
    return {
        f"{file.package}.{message.name}": frozenset(field.name for field in message.field)
        for file in files
        for message in file.message_type
    }


def parts(model: type[Part], descriptor: Descriptor) -> Iterator[tuple[type[Part], Descriptor]]:
    """A message and those within it, with their classes of the model."""
    yield model, descriptor
    for field in descriptor.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            (inner,) = parts_in(model.model_fields[field.name].annotation)
            yield from parts(inner, field.message_type)


def unstated(model: type[Part], descriptor: Descriptor, before: Released) -> list[str]:
    """Problems of the fields of a kind that are not in `before`, one sentence each.

    A new message needs no declaration, because it is in a new field.
    """
    wrong = []
    for part, message in parts(model, descriptor):
        names = {field.name for field in message.fields}
        known = before.get(message.full_name)
        for name in sorted(names - known - part.ADDED.keys() if known is not None else ()):
            wrong.append(
                f"{part.__name__}.{name} is not in the last release: say in {part.__name__}.ADDED whether a data plane "
                "may ignore it (IGNORABLE), or which capability it must name (Narrows); see CONTRIBUTING.md"
            )
        wrong += [
            f"{part.__name__}.ADDED names {name}, which is not sent"
            for name in sorted(part.ADDED.keys() - names)
        ]
    return wrong
