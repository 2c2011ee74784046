"""Every field that older data planes do not know says what they may make of it: nothing is let through by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from controlplane.model.base import IGNORABLE, Added, Narrows, Part, narrowings
from controlplane.model.resources import model_of
from dataplane.config.stream.wire import CAPABILITIES
from headgate_api.v1 import resources_pb2 as pb
from tests.support.added import parts, released, unstated
from tests.support.drift import ROOT

BODIES: list[Any] = [field for field in pb.Resource.DESCRIPTOR.fields if field.containing_oneof is not None]


def model(body: Any) -> type[Part]:
    found = model_of(body.name)
    assert found is not None
    return found


@pytest.mark.parametrize("body", BODIES, ids=lambda field: field.name)
def test_every_added_field_says_which_it_is(body: Any) -> None:
    assert unstated(model(body), body.message_type, released()) == []


def test_the_envelope_of_resources_has_no_field_that_could_narrow() -> None:
    bodies = {field.name for field in BODIES}
    # Of two routes with the same match an older data plane refuses both, so it needs no age.
    envelope = {field.name for field in pb.Resource.DESCRIPTOR.fields} - bodies - {"created"}
    assert envelope <= released()["headgate.v1.Resource"], "`model.capabilities` looks at kinds only"


def test_this_version_knows_what_it_asks_for() -> None:
    asked = {
        one.capability
        for body in BODIES
        for part, _ in parts(model(body), body.message_type)
        for added in part.ADDED.values()
        for one in narrowings(added)
    }
    assert asked >= {"services.tls", "limits.fleet", "limits.redis"}
    assert asked <= set(CAPABILITIES)
    text = (ROOT / "proto/headgate_api/v1/config.proto").read_text()
    assert [name for name in CAPABILITIES if f'//   "{name}"' not in text] == [], (
        "described at Hello.capabilities"
    )


# The check itself, on a toy that grew


class Inner(Part):
    """A part of the toy."""

    depth: int = 0
    guard: str = ""


class Silent(Part):
    """A kind whose author forgot to say which it is."""

    name: str = ""
    colour: str = ""
    inner: Inner | None = None


class Stated(Silent):
    """And one who did not."""

    ADDED: ClassVar[Mapping[str, Added]] = {"colour": IGNORABLE}


class Astray(Stated):
    """And one who speaks of a field that is not sent."""

    ADDED: ClassVar[Mapping[str, Added]] = {"colour": IGNORABLE, "shade": Narrows("toys.shade")}


@pytest.fixture(scope="module")
def toy() -> Descriptor:
    file = FileDescriptorProto(name="added.proto", package="added", syntax="proto3")
    one, text = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.TYPE_STRING
    outer, inner = file.message_type.add(name="Toy"), file.message_type.add(name="Inner")
    outer.field.add(name="name", number=1, type=text, label=one)
    outer.field.add(name="colour", number=2, type=text, label=one)
    outer.field.add(
        name="inner", number=3, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=".added.Inner", label=one
    )
    inner.field.add(name="depth", number=1, type=FieldDescriptorProto.TYPE_INT32, label=one)
    inner.field.add(name="guard", number=2, type=text, label=one)
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindMessageTypeByName("added.Toy")


def test_a_field_without_a_word_is_found(toy: Descriptor) -> None:
    before = {"added.Toy": frozenset({"name", "inner"}), "added.Inner": frozenset({"depth"})}
    assert [line.partition(" ")[0] for line in unstated(Silent, toy, before)] == [
        "Silent.colour",
        "Inner.guard",
    ]
    assert [line.partition(" ")[0] for line in unstated(Stated, toy, before)] == ["Inner.guard"]
    assert "Astray.ADDED names shade, which is not sent" in unstated(Astray, toy, before)


def test_what_is_new_as_a_whole_needs_one_word(toy: Descriptor) -> None:
    assert unstated(Stated, toy, {"added.Toy": frozenset({"name", "inner"})}) == []
    assert unstated(Silent, toy, {}) == [], "a new kind: older data planes refuse it by name"
