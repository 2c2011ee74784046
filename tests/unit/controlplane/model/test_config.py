"""The configuration kept up to date entry by entry: always what building it anew would give."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.model.config import Config, build
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import Instance, Resource, ResourceId, Scope, Service, User, parse
from controlplane.model.snapshot import EMPTY, Delta, Snapshot, Stamped, diff
from controlplane.model.stored import CHANGE, COMMITS, STAGED, encode, key_of
from controlplane.model.trail import Trail
from controlplane.store import Entry

SERVICES = ("a", "b")
ROUTES = ("r1", "r2", "r3")


def entry(resource: Resource, revision: int) -> Entry:
    return Entry(key_of(resource.KIND, resource.name), encode(resource), revision)


def route(name: str, prefix: str, service: str, scopes: list[str]) -> Resource:
    return parse("route", {"name": name, "prefix": prefix, "service_name": service, "scopes": scopes})


def service(name: str, *static: str) -> Resource:
    instances = [{"instance_id": each, "host": "h", "port": 1} for each in static]
    return parse("service", {"service_name": name, "instances": instances})


def instance(service_name: str, instance_id: str) -> Instance:
    return Instance(service_name=service_name, instance_id=instance_id, host="registered", port=2)


resources = st.one_of(
    st.builds(service, st.sampled_from(SERVICES), st.sampled_from(["1", "2"])),
    st.builds(service, st.sampled_from(SERVICES)),
    st.builds(instance, st.sampled_from(SERVICES), st.sampled_from(["1", "2"])),
    st.builds(
        route,
        st.sampled_from(ROUTES),
        st.sampled_from(["/x", "/y"]),
        st.sampled_from(SERVICES),
        st.sampled_from([[], ["s"]]),
    ),
    st.just(Scope(name="s")),
    st.just(User(username="u", scopes=("s",))),
)
keys = st.sampled_from(
    [key_of("service", name) for name in SERVICES]
    + [key_of("route", name) for name in ROUTES]
    + [key_of("instance", f"{name}/{each}") for name in SERVICES for each in "12"]
    + [key_of("scope", "s"), key_of("user", "u")]
)


class Following(RuleBasedStateMachine):
    """Random changes. After each one: the same snapshot or the same problems as from nothing, and deltas that fit."""

    def __init__(self) -> None:
        super().__init__()
        self.revision = 1
        self.entries: dict[str, Entry] = {}
        self.config = Config()
        self.trail = Trail()
        self.published: list[Snapshot] = []

    @rule(resource=resources)
    def put(self, resource: Resource) -> None:
        self._put(entry(resource, self.revision + 1))

    @rule(key=keys)
    def put_nonsense(self, key: str) -> None:
        self._put(Entry(key, b"nonsense", self.revision + 1))

    @rule(key=keys)
    def remove(self, key: str) -> None:
        self.revision += 1
        self.entries.pop(key, None)
        self.config.remove(key)

    @rule(lost=st.sets(keys))
    def list_anew(self, lost: set[str]) -> None:
        self.revision += 1
        for key in lost:
            self.entries.pop(key, None)
        gone, new = self.config.differing(list(self.entries.values()))
        for key in gone:
            self.config.remove(key)
        for one in new:
            self.config.put(one)

    def _put(self, one: Entry) -> None:
        self.revision = one.revision
        self.entries[one.key] = one
        self.config.put(one)

    @rule()
    def publish(self) -> None:
        expected, wrong = _built(self.entries, self.revision)
        try:
            found, touched = self.config.publish(self.revision)
        except InconsistentConfig as error:
            assert list(map(str, error.problems)) == wrong
            return
        assert expected is not None and not wrong
        assert (found.resources, found.digest) == (expected.resources, expected.digest)
        assert found.digest == Snapshot(1, found.resources).digest
        assert found.instances_of == Snapshot(1, found.resources).instances_of
        before = self.published[-1] if self.published else EMPTY
        exact = diff(before, found)
        assert touched == set(exact.changed) | set(exact.removed)
        self.trail.add(found.revision, touched)
        self.published.append(found)

    @invariant()
    def every_older_snapshot_leads_to_the_present_one(self) -> None:
        if not self.published:
            return
        current = self.published[-1]
        for base in self.published:
            delta = self.trail.between(base.revision, base.digest, current)
            assert delta is not None
            assert applied(base, delta) == current.resources


def _built(entries: Mapping[str, Entry], revision: int) -> tuple[Snapshot | None, list[str]]:
    try:
        return build(entries.values(), revision), []
    except InconsistentConfig as error:
        return None, list(map(str, error.problems))


def applied(base: Snapshot, delta: Delta) -> dict[ResourceId, Stamped]:
    """What a data plane makes of a delta."""
    kept = {identity: held for identity, held in base.resources.items() if identity not in delta.removed}
    return {**kept, **delta.changed}


TestFollowing = Following.TestCase
TestFollowing.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_view_that_was_handed_out_does_not_change() -> None:
    config = Config([entry(service("a"), 2)])
    view, (snapshot, _) = config.view(), config.publish(2)
    config.put(entry(service("b"), 3))
    config.remove(key_of("service", "a"))
    assert list(view.resources) == list(snapshot.resources) == [("service", "a")]
    assert list(config.view().resources) == [("service", "b")]


def test_a_view_knows_revisions_of_what_it_cannot_read() -> None:
    config = Config(
        [entry(Scope(name="s"), 5), Entry(key_of("scope", "bad"), b"?", 6), Entry(CHANGE, b"?", 7)]
    )
    view = config.view()
    assert [view.revision(("scope", name)) for name in ("s", "bad", "none")] == [5, 6, 0]
    assert view.change == 7
    config.remove(CHANGE)
    assert config.view().change == 0


def test_a_revision_that_touches_nothing_costs_no_copy() -> None:
    config = Config([entry(service("a"), 2)])
    first, _ = config.publish(2)
    config.put(entry(Scope(name="s"), 3))
    second, touched = config.publish(3)
    assert (second.resources is first.resources, second.digest, touched) == (True, first.digest, frozenset())


def test_what_was_settled_is_not_done_again_when_it_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    config, one_by_one = Config(), Config()
    entries = [entry(Service(service_name=f"s{number}"), 2) for number in range(100)]
    for one in entries:
        config.put(one)
        one_by_one.put(one)
        one_by_one.publish(2)
    while config.unsettled:
        config.settle(7)

    def again(*_: object) -> int:
        raise AssertionError("a resource is looked at again")

    monkeypatch.setattr("controlplane.model.config.needs", again)
    monkeypatch.setattr("controlplane.model.digest.share", again)
    found, touched = config.publish(2)
    assert len(touched) == 100
    assert found.resources == one_by_one.publish(2)[0].resources
    monkeypatch.undo()
    assert found.digest == Snapshot(1, found.resources).digest


def test_an_instance_comes_and_goes_with_its_service() -> None:
    config = Config([entry(instance("a", "1"), 2)])
    assert config.publish(2)[0].resources == {}
    config.put(entry(Service(service_name="a"), 3))
    assert config.publish(3)[1] == {("service", "a"), ("instance", "a/1")}
    config.remove(key_of("service", "a"))
    assert config.publish(4)[0].resources == {}


def test_instances_are_grouped_under_services_that_are_settled_bit_by_bit() -> None:
    config = Config()
    names = [f"s-{number}" for number in range(40)]
    for number, name in enumerate(names):
        config.put(entry(service(name, "one", "two"), number + 1))
    while config.unsettled:
        config.settle(1)
    snapshot, _ = config.publish(len(names))
    assert [len(snapshot.instances(name)) for name in names] == [2] * len(names)


def test_a_registered_instance_hides_the_listed_one_until_it_goes() -> None:
    config = Config([entry(service("a", "1"), 2), entry(instance("a", "1"), 3)])
    assert config.publish(3)[0].resources["instance", "a/1"].revision == 3
    config.remove(key_of("instance", "a/1"))
    snapshot, touched = config.publish(4)
    assert snapshot.resources["instance", "a/1"].revision == 2
    assert touched == {("instance", "a/1")}


def test_changes_under_way_are_told_apart_from_resources() -> None:
    config = Config()
    for key in (f"{STAGED}x/writer", f"{STAGED}x/00000", f"{COMMITS}x"):
        config.put(Entry(key, b"{}", 2))
    assert config.decided == {f"{COMMITS}x"}
    assert config.staged == {f"{STAGED}x/writer", f"{STAGED}x/00000"}
    gone, _ = config.differing([])
    for key in gone:
        config.remove(key)
    assert not config.decided and not config.staged


# The trail


def at(revision: int) -> Snapshot:
    return Snapshot(revision, {("scope", "x"): Stamped(Scope(name="x"), revision)})


X = {("scope", "x")}


@pytest.mark.parametrize(
    ("base", "known"), [(3, False), (4, True), (5, True), (6, True), (7, True), (8, False)]
)
def test_the_trail_begins_with_the_first_snapshot_and_knows_no_future(base: int, known: bool) -> None:
    trail = Trail()
    trail.add(4, ())
    trail.add(7, X)
    assert (trail.between(base, "any", at(7)) is not None) == known


def test_the_first_snapshot_is_known_by_an_earlier_revision_too() -> None:
    """Another control plane published the same before this one started."""
    trail = Trail()
    trail.add(4, (), "four")
    trail.add(7, X)
    assert trail.between(2, "another", at(7)) is None
    delta = trail.between(2, "four", at(7))
    assert delta is not None
    assert (delta.base_revision, set(delta.changed) | set(delta.removed)) == (2, set(X))


def test_the_trail_of_nothing() -> None:
    assert Trail().between(0, "", at(7)) is None


def test_the_trail_is_bounded() -> None:
    trail = Trail(most=2)
    for revision in range(1, 6):
        trail.add(revision, X)
    assert trail.between(2, "two", at(5)) is None
    delta = trail.between(3, "three", at(5))
    assert delta is not None and (delta.base_digest, set(delta.changed)) == ("three", X)
