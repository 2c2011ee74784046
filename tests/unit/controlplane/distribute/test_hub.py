"""Sessions: each has its own pace, one a node, and none is left behind."""

from __future__ import annotations

from contextlib import ExitStack
from types import MappingProxyType

import pytest

from controlplane.distribute.hub import PATIENCE, REDIRECT_AGAIN_AFTER, STORE_LOST_FOR, Ending, Hub
from controlplane.distribute.subscriber import Mark, Whole
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.reports import NodeState, Rejection
from controlplane.model.resources import Scope, Service, Tls
from controlplane.model.snapshot import Delta, Snapshot
from controlplane.model.stored import Stamped
from controlplane.store import MemoryStore


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def hub(fleet: Fleet) -> Hub:
    return Hub(Watcher(MemoryStore()), fleet)


def publish(hub: Hub, revision: int) -> None:
    stamped = Stamped(Scope(name="x"), revision)
    hub.watcher.current = Snapshot(revision, MappingProxyType({("scope", "x"): stamped}))
    hub.watcher.changed.notify()


def test_publishing_wakes_every_session(hub: Hub) -> None:
    with hub.session("gw-1", "0.1.0", 0, "") as one, hub.session("gw-2", "0.1.0", 0, "") as other:
        publish(hub, 5)
        assert one.wake.is_set() and other.wake.is_set()
        assert [session.next() for session in (one, other)] == [hub.watcher.current] * 2


def test_a_slow_session_costs_the_others_nothing(hub: Hub) -> None:
    with hub.session("slow", "0.1.0", 0, "") as slow, hub.session("fast", "0.1.0", 0, "") as fast:
        for revision in range(1, 51):
            publish(hub, revision)
            slow.next()
            sent = fast.next()
            assert sent is not None and sent.revision == revision
            fast.subscriber.ack(revision)
        slow.subscriber.ack(1)
        last = slow.next()
        assert last is not None and last.revision == 50


def test_before_anything_is_published_there_is_nothing_to_send(hub: Hub) -> None:
    with hub.session("gw-1", "0.1.0", 0, "") as session:
        assert session.next() is None


def test_a_node_is_connected_while_its_session_lasts(hub: Hub, fleet: Fleet) -> None:
    with hub.session("gw-1", "0.1.0", 4, "four"):
        assert [(node.node, node.connected) for node in fleet.views.dataplanes()] == [("gw-1", True)]
        assert len(hub) == 1
    assert [(node.node, node.connected) for node in fleet.views.dataplanes()] == [("gw-1", False)]
    assert len(hub) == 0


def test_an_error_ends_the_session_too(hub: Hub, fleet: Fleet) -> None:
    with pytest.raises(ZeroDivisionError), hub.session("gw-1", "0.1.0", 0, ""):
        raise ZeroDivisionError
    assert len(hub) == 0
    assert not fleet.nodes["gw-1"].connected


def test_the_newest_stream_of_a_node_wins(hub: Hub, fleet: Fleet) -> None:
    older = ExitStack()
    first = older.enter_context(hub.session("gw-1", "0.1.0", 0, ""))
    with hub.session("gw-1", "0.1.1", 0, "") as second:
        assert [first.ending, second.ending] == [Ending.SUPERSEDED, None]
        assert first.wake.is_set()
        older.close()
        # What is left of the older one takes nothing away from the newer.
        assert len(hub) == 1 and fleet.nodes["gw-1"].connected
    assert not fleet.nodes["gw-1"].connected


def test_stopping_ends_all_now_and_to_come(hub: Hub) -> None:
    with hub.session("gw-1", "0.1.0", 0, "") as session:
        hub.stop()
        assert session.ending is Ending.STOPPING and session.wake.is_set()
    with hub.session("gw-1", "0.1.0", 0, "") as late:
        assert late.ending is Ending.STOPPING


def test_the_first_reason_stands(hub: Hub) -> None:
    with hub.session("gw-1", "0.1.0", 0, "") as session:
        session.end(Ending.SUPERSEDED)
        session.end(Ending.STOPPING)
        assert session.ending is Ending.SUPERSEDED


def test_an_answer_wakes_the_stream_only_if_there_is_something_to_send(hub: Hub) -> None:
    with hub.session("gw-1", "0.1.0", 0, "") as session:
        publish(hub, 5)
        session.next()
        session.wake.clear()
        session.subscriber.ack(5)
        session.answered()
        assert not session.wake.is_set()
        publish(hub, 6)
        session.next()
        publish(hub, 7)
        session.wake.clear()
        session.subscriber.ack(6)
        session.answered()
        assert session.wake.is_set()


# What the whole fleet served


def supersede(hub: Hub, revision: int) -> None:
    """Publish as the watcher does."""
    if hub.watcher.current is not None:
        hub.watcher.superseding(hub.watcher.current)
    publish(hub, revision)


def test_a_deleted_pool_leaves_nothing_to_one_of_its_name(hub: Hub) -> None:
    publish(hub, 1)
    assert hub.watcher.current is not None
    hub.accepted["east"] = hub.watcher.current
    supersede(hub, 2)
    assert "east" not in hub.accepted


def digest(hub: Hub) -> str:
    assert hub.watcher.current is not None
    return hub.watcher.current.digest


def accepted(hub: Hub) -> int | None:
    found = hub.accepted.get("default")
    return found.revision if found else None


def test_accepted_is_what_all_served_when_the_next_one_came(hub: Hub, fleet: Fleet) -> None:
    supersede(hub, 1)
    with hub.session("gw-1", "0.1.0", 0, ""), hub.session("gw-2", "0.1.0", 0, ""):
        supersede(hub, 2)
        assert accepted(hub) is None, "nobody served anything"
        fleet.ack("gw-1", 2, digest(hub))
        supersede(hub, 3)
        assert accepted(hub) == 2, "who has nothing has refused nothing"
        fleet.ack("gw-1", 3, digest(hub))
        fleet.ack("gw-2", 2, "two")
        supersede(hub, 4)
        assert accepted(hub) == 2
    assert not [node for node in fleet.nodes.values() if node.connected]
    supersede(hub, 5)
    assert accepted(hub) == 2


def test_the_data_planes_of_others_count_as_well(hub: Hub, fleet: Fleet) -> None:
    supersede(hub, 1)
    with hub.session("gw-1", "0.1.0", 1, digest(hub)):
        fleet.receive(
            "other", PeerState({"gw-2": NodeState("gw-2", "0.1.0", digest="zero", applied_revision=0)})
        )
        supersede(hub, 2)
        assert accepted(hub) is None
        fleet.ack("gw-1", 2, digest(hub))
        fleet.receive(
            "other", PeerState({"gw-2": NodeState("gw-2", "0.1.0", digest=digest(hub), applied_revision=2)})
        )
        supersede(hub, 3)
        assert accepted(hub) == 2


def elsewhere(revision: int, digest: str, refused: Rejection | None = None) -> PeerState:
    state = NodeState("gw-2", "0.1.0", digest=digest, applied_revision=revision, last_rejection=refused)
    return PeerState({"gw-2": state})


def test_accepted_counts_those_that_another_control_plane_moved_on_first(hub: Hub, fleet: Fleet) -> None:
    supersede(hub, 2)
    with hub.session("gw-1", "0.1.0", 2, digest(hub)):
        fleet.receive("other", elsewhere(2, digest(hub)))
        fleet.receive("other", elsewhere(3, "three"))
        supersede(hub, 3)
        assert accepted(hub) == 2


def test_accepted_is_none_that_a_data_plane_refused_before_it_moved_on(hub: Hub, fleet: Fleet) -> None:
    supersede(hub, 2)
    with hub.session("gw-1", "0.1.0", 2, digest(hub)):
        fleet.receive("other", elsewhere(3, "three", Rejection(2, (), 0.0, digest(hub))))
        supersede(hub, 3)
        assert accepted(hub) is None


def test_accepted_is_none_that_nobody_serves_any_more(hub: Hub, fleet: Fleet) -> None:
    supersede(hub, 2)
    with hub.session("gw-1", "0.1.0", 3, "three"):
        supersede(hub, 3)
        assert accepted(hub) is None


def test_messages_are_counted_by_what_they_bring(hub: Hub) -> None:
    publish(hub, 5)
    with (
        hub.session("gw-1", "0.1.0", 0, "") as one,
        hub.session("gw-2", "0.1.0", 5, digest(hub), deltas=True) as two,
    ):
        for session in (one, two):
            message = session.next()
            assert message is not None
            hub.sent(session, message)
    sent = hub.messages
    assert (sent.snapshots, sent.deltas, sent.marks) == ({Whole.FIRST: 1}, 0, 1)
    assert sent.resources == {"snapshot": 1, "delta": 0}


# Without the store


class StoreLost:
    """A hub that lost the store, at a time of the test's own."""

    def __init__(self, *, lost_for: float = STORE_LOST_FOR) -> None:
        self.now = 1000.0
        self.fleet = Fleet()
        self.hub = Hub(Watcher(MemoryStore()), self.fleet, lambda: self.now)
        publish(self.hub, 5)
        self.hub.watcher.lost_at = self.now - lost_for

    def redirects(self, node: str = "gw-1") -> bool:
        """Whether a data plane that connects now is told to go."""
        with self.hub.session(node, "0.1.0", 5, digest(self.hub)) as session:
            self.hub.look_after(session)
            return session.ending is Ending.STORE_LOST


def test_a_control_plane_that_lost_the_store_redirects_data_planes() -> None:
    scene = StoreLost()
    assert not scene.redirects(), "there is no other"
    scene.fleet.receive("other", PeerState())
    assert scene.redirects()
    assert not scene.redirects(), "it came back: the other is no better"
    assert scene.redirects("gw-2")
    scene.now += REDIRECT_AGAIN_AFTER
    assert scene.redirects()
    # Another outage begins: that the other was no better in the last one says nothing of this one.
    scene.hub.watcher.lost_at = scene.now
    scene.now += STORE_LOST_FOR
    assert scene.redirects()
    assert not scene.redirects()
    scene.now += REDIRECT_AGAIN_AFTER
    assert scene.redirects()


def test_an_outage_is_not_noticed_at_once() -> None:
    scene = StoreLost(lost_for=STORE_LOST_FOR - 0.1)
    scene.fleet.receive("other", PeerState())
    assert not scene.redirects()
    scene.hub.watcher.lost_at = None
    scene.now += 100
    assert not scene.redirects()


def test_so_does_one_that_does_not_know_what_the_fleet_served_before(hub: Hub, fleet: Fleet) -> None:
    publish(hub, 5)
    fleet.receive("other", PeerState())
    cannot = Mark(5, digest(hub))
    with hub.session("gw-1", "0.1.0", 4, "four", refused=cannot) as session:
        hub.look_after(session)
        assert session.ending is None, "it serves something"
    for expected in (Ending.NO_FALLBACK, None):
        with hub.session("gw-2", "0.1.0", 0, "", refused=cannot) as session:
            hub.look_after(session)
            assert session.ending is expected
    assert hub.watcher.current is not None
    hub.accepted["default"] = hub.watcher.current
    with hub.session("gw-3", "0.1.0", 0, "", refused=cannot) as session:
        hub.look_after(session)
        assert session.ending is None


def test_without_anything_to_serve_it_keeps_nobody() -> None:
    scene = StoreLost()
    scene.hub.watcher.current = None
    with scene.hub.session("gw-1", "0.1.0", 0, "") as session:
        scene.hub.look_after(session)
        assert session.ending is Ending.STORE_LOST


def test_who_is_ahead_of_a_control_plane_without_store_is_not_set_back() -> None:
    scene = StoreLost()
    with scene.hub.session("gw-1", "0.1.0", 9, "of another content", deltas=True) as session:
        scene.now += 10 * PATIENCE
        assert session.next() is None
        scene.hub.watcher.lost_at = None
        assert session.next() is None
        scene.now += PATIENCE
        older = session.next()
        assert older is not None and older.revision == 5
    # The same content under a later revision is no reason to wait.
    with scene.hub.session("gw-2", "0.1.0", 9, digest(scene.hub), deltas=True) as session:
        told = session.next()
        assert isinstance(told, Delta)
        assert (told.base_revision, told.revision, told.changed) == (9, 9, {})
        assert session.subscriber.ack(9)
        assert session.next() is None


def publish_service(hub: Hub, revision: int, tls: Tls | None) -> None:
    stamped = Stamped(Service(service_name="x", tls=tls), revision)
    hub.watcher.current = Snapshot(revision, MappingProxyType({("service", "x"): stamped}))
    hub.watcher.changed.notify()


def test_what_is_withheld_is_counted_and_shown_and_each_cause_is_logged_once(
    hub: Hub, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    known = {"services.tls"}
    with (
        hub.session("old", "0.1.0", 4, "four", deltas=True) as old,
        hub.session("new", "0.2.0", 4, "four", capabilities=known) as new,
    ):
        for revision in (5, 6):
            publish_service(hub, revision, Tls())
            old.next()
            assert old.next() is None
            assert new.next() is hub.watcher.current
            new.subscriber.ack(revision)
        rejection = fleet.nodes["old"].last_rejection
        assert rejection is not None
        assert (rejection.revision, rejection.withheld, len(rejection.problems)) == (6, True, 1)
        assert hub.messages.withheld == 2
        publish_service(hub, 7, None)
        old.subscriber.ack(4)
        assert old.next() is hub.watcher.current
        publish_service(hub, 8, Tls())
        old.subscriber.ack(7)
        assert old.next() is None
    assert [(record.levelname, record.revision) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("WARNING", 5),
        ("INFO", 7),
        ("WARNING", 8),
    ]
    assert fleet.nodes["new"].last_rejection is None


@pytest.mark.parametrize("looks", [True, False])
def test_what_was_withheld_before_is_refused_when_it_comes_back(
    hub: Hub, fleet: Fleet, *, looks: bool
) -> None:
    """A → B → A, with or without a look at B: what is shown says that the last one is withheld."""

    def publish_both(revision: int, *, extra: bool) -> None:
        resources = {("service", "x"): Stamped(Service(service_name="x", tls=Tls()), 5)}
        if extra:
            resources["service", "y"] = Stamped(Service(service_name="y"), revision)
        hub.watcher.current = Snapshot(revision, MappingProxyType(resources))

    with hub.session("old", "0.1.0", 4, "four", deltas=True) as old:
        shown = []
        for revision, extra in ((5, False), (6, True), (7, False)):
            publish_both(revision, extra=extra)
            if revision != 6 or looks:
                old.next()
                rejection = fleet.nodes["old"].last_rejection
                assert rejection is not None and rejection.digest == digest(hub)
                shown.append(rejection.revision)
    # Without a look at it B was never told, and what was said of A holds for the same content under a later revision.
    assert shown == ([5, 6, 7] if looks else [5, 5])


def test_a_data_plane_that_connects_is_judged_by_what_is_published(hub: Hub, fleet: Fleet) -> None:
    publish_service(hub, 5, Tls())
    with hub.session("cold", "0.1.0", 0, "") as cold:
        assert cold.next() is None
        assert str(fleet.nodes["cold"].last_rejection).startswith(
            "revision 5 is withheld: service/x tls: needs"
        )
