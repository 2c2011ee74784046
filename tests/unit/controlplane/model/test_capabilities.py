"""What a configuration asks of data planes: found in resources and their parts, and kept up change by change."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import ClassVar

from controlplane.model.base import IGNORABLE, Added, Narrows, Part, Resource
from controlplane.model.capabilities import Lacking, Need, UnknownField, lacking, narrows, needs, updated
from controlplane.model.config import Config
from controlplane.model.resources import Instance, Route, Service, Tls, User
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import encode, key_of
from controlplane.store import Entry

TLS = Need("tls", "services.tls")


class Match(Part):
    """A part of the toy."""

    ADDED: ClassVar[Mapping[str, Added]] = {"pattern": Narrows("toys.patterns"), "note": IGNORABLE}

    pattern: str = ""
    note: str = ""


class Toy(Resource):
    """A kind that no Headgate has."""

    KIND: ClassVar[str] = "toy"
    ADDED: ClassVar[Mapping[str, Added]] = {
        "mode": (
            Narrows("toys.fleet", when=lambda mode: mode == "fleet"),
            Narrows("toys.redis", when=lambda mode: mode == "redis"),
        ),
        "matches": Narrows("toys.matches"),
    }

    name: str = "a"
    mode: str = "local"
    matches: tuple[Match, ...] = ()
    first: Match | None = None


def test_what_is_not_used_needs_nothing() -> None:
    assert needs(Toy(matches=(), first=Match(note="x"))) == ()
    assert needs(Service(service_name="a")) == needs(Service(service_name="a", tls=Tls(enabled=False))) == ()


def test_every_field_in_use_is_named_by_its_path() -> None:
    assert needs(Service(service_name="a", tls=Tls())) == (TLS,)
    socket = Instance(service_name="a", instance_id="b", host="unix:/run/apps/b.sock")
    assert needs(socket) == (Need("host", "instances.unix"),)
    assert needs(Instance(service_name="a", instance_id="b", host="b", port=1)) == ()
    toy = Toy(mode="fleet", matches=(Match(), Match(pattern="x")), first=Match(pattern="y"))
    assert needs(toy) == (
        Need("mode", "toys.fleet"),
        Need("matches", "toys.matches"),
        Need("matches[1].pattern", "toys.patterns"),
        Need("first.pattern", "toys.patterns"),
    )


def test_values_of_one_field_may_need_different_capabilities() -> None:
    assert [needs(Toy(mode=mode)) for mode in ("local", "fleet", "redis")] == [
        (),
        (Need("mode", "toys.fleet"),),
        (Need("mode", "toys.redis"),),
    ]


def test_kinds_without_such_fields_cost_nothing() -> None:
    assert [narrows(model) for model in (Service, Toy, Route, User)] == [True, True, True, False]


def test_what_a_data_plane_lacks() -> None:
    needed = {
        "a": {("toy", "x"): "mode"},
        "b": {("toy", "x"): "first", ("toy", "y"): "first"},
    }
    assert lacking(needed, {"a", "b", "c"}) is None
    unknown = (UnknownField(("toy", "x"), "first", "b"), UnknownField(("toy", "y"), "first", "b"))
    assert lacking(needed, {"a"}) == Lacking(frozenset("b"), 2, unknown)


def test_of_many_the_first_are_named() -> None:
    needed = {"a": {("toy", str(number)): "mode" for number in range(10_000)}}
    found = lacking(needed, frozenset())
    assert found is not None
    assert (found.resources, len(found.named)) == (10_000, 10)


def test_one_that_changes_takes_the_place_of_what_it_needed() -> None:
    before = updated(
        {}, {("toy", "x"): (Need("mode", "a"), Need("first", "a")), ("toy", "y"): (Need("m", "b"),)}
    )
    assert before == {"a": {("toy", "x"): "mode"}, "b": {("toy", "y"): "m"}}
    after = updated(before, {("toy", "x"): (), ("toy", "z"): (Need("m", "b"),)})
    assert after == {"b": {("toy", "y"): "m", ("toy", "z"): "m"}}
    assert before == {"a": {("toy", "x"): "mode"}, "b": {("toy", "y"): "m"}}, "others hold it"


def test_a_snapshot_of_many_changes_needs_what_one_made_anew_needs() -> None:
    config, chance = Config(), random.Random(7)  # repeatable
    for revision in range(1, 200):
        name = str(chance.randrange(20))
        if chance.random() < 0.3:
            config.remove(key_of("service", name))
        else:
            service = Service(service_name=name, tls=Tls() if chance.random() < 0.5 else None)
            config.put(Entry(key_of("service", name), encode(service), revision, 0))
        published, _ = config.publish(revision)
        assert published.needs == Snapshot(revision, published.resources).needs
