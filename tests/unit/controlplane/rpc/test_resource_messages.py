"""Resources on the wire: every field of a message comes from the model, and what the model keeps back is listed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from pydantic import Field

from controlplane.model.base import FOR_PEOPLE, Part, Resource
from controlplane.model.internal import Reset, VerificationKey
from controlplane.model.resources import (
    Certificate,
    Instance,
    Listener,
    RateLimit,
    Route,
    Service,
    Tls,
    User,
    model_of,
)
from controlplane.rpc.wire.resource_messages import message
from headgate_api.v1 import resources_pb2 as pb
from tests.support.added import parts

NOT_SENT = {
    # Each instance goes out as an instance, listed or found; data planes register nothing.
    Service: {"instances", "discovery", "registration"},
    Tls: {"enabled"},  # the part is there, or it is not
    Route: {"name", "pools"},  # beside the body
    Listener: {"name", "pools"},
    Certificate: {"name", "not_after", "sealed_key"},
    RateLimit: {"name", "requests", "per"},
    User: {"username", "password", "password_hash", "generation", "credentials_id"},
    VerificationKey: {"kid"},
    Reset: {"id"},
    Instance: set(),
}

BODIES = [field for field in pb.Resource.DESCRIPTOR.fields if field.containing_oneof is not None]


@pytest.mark.parametrize("body", BODIES, ids=lambda field: field.name)
def test_the_wire_and_the_model_have_the_same_fields(body: Any) -> None:
    model = model_of(body.name)
    assert model is not None and model.DATA_PLANES
    for part, descriptor in parts(model, body.message_type):
        on_the_wire = {field.name for field in descriptor.fields}
        assert all(hasattr(part, name) or name in part.model_fields for name in on_the_wire)
        kept = NOT_SENT.get(part, set()) | (set(FOR_PEOPLE) if issubclass(part, Resource) else set())
        assert set(part.model_fields) - on_the_wire == kept, part.__name__


# A field and a kind of a test's own: the class and the .proto file are all that they take.


class Shade(Part):
    """A part of the toy."""

    enabled: bool = True
    depth: float = 0.5


class Toy(Resource):
    """A resource that no Headgate has."""

    KIND: ClassVar[str] = "toy"
    PLURAL: ClassVar[str] = "toys"

    name: str
    colour: Annotated[Literal["dark_blue", "red"], Field()] = "red"
    sizes: tuple[int, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    shade: Shade | None = None


def toy_message() -> Any:
    kinds = FieldDescriptorProto
    toy = DescriptorProto(name="Toy")
    entry = toy.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), 1):
        entry.field.add(name=name, number=number, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    toy.field.add(name="colour", number=1, type=kinds.TYPE_ENUM, type_name=".toy.ToyColour", label=one)
    toy.field.add(name="sizes", number=2, type=kinds.TYPE_INT32, label=many)
    toy.field.add(
        name="labels", number=3, type=kinds.TYPE_MESSAGE, type_name=".toy.Toy.LabelsEntry", label=many
    )
    toy.field.add(name="shade", number=4, type=kinds.TYPE_MESSAGE, type_name=".toy.Shade", label=one)
    shade = DescriptorProto(name="Shade")
    shade.field.add(name="depth", number=1, type=kinds.TYPE_DOUBLE, label=one)
    file = FileDescriptorProto(name="toy.proto", package="toy", syntax="proto3", message_type=[toy, shade])
    colour = file.enum_type.add(name="ToyColour")
    for number, word in enumerate(("UNSPECIFIED", "RED", "DARK_BLUE")):
        colour.value.add(name=f"TOY_COLOUR_{word}", number=number)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("toy.Toy"))


def test_a_new_kind_is_encoded_by_its_descriptor() -> None:
    made = toy_message()
    full: Any = message(
        made, Toy(name="a", colour="dark_blue", sizes=(1, 2), labels={"a": "b"}, shade=Shade())
    )
    assert (full.colour, list(full.sizes), dict(full.labels)) == (2, [1, 2], {"a": "b"})
    assert full.shade.depth == 0.5
    bare: Any = message(made, Toy(name="a", shade=Shade(enabled=False)))
    assert not bare.HasField("shade")
