"""Who may use a route: scopes of the token and of the user as of now, public routes, users who are gone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.policy.authenticate import INVALID, MISSING
from dataplane.gateway.policy.authorize import Forbidden, authorize
from dataplane.gateway.policy.permit import ANONYMOUS, Caller, Permit
from dataplane.gateway.policy.resources import Route, User


def route(*scopes: str, public: bool = False, name: str = "r") -> Route:
    return Route(name, "svc", prefix="/", scopes=frozenset(scopes), public=public)


def caller(*scopes: str, subject: str = "alice") -> Caller:
    return Caller(subject, frozenset(scopes), 1e10)


def users(*scopes: str, disabled: bool = False) -> dict[str, User]:
    return {"alice": User("alice", frozenset(scopes), disabled)}


def test_whoever_holds_all_scopes_gets_a_permit() -> None:
    alice, orders = caller("a", "b", "c"), route("a", "b")
    permit = authorize(orders, alice, users("a", "b", "d"))
    assert isinstance(permit, Permit)
    assert permit.route is orders
    assert permit.caller is alice
    assert permit.scopes == {"a", "b"}, "what the token grants and the user holds"
    assert repr(permit).startswith("Permit('r', Caller('alice'")


def test_a_token_ends_with_the_credentials_that_it_was_made_for() -> None:
    alice = Caller("alice", frozenset("a"), 1e10, "before")
    before, after = ({"alice": User("alice", frozenset("a"), credentials=it)} for it in ("before", "after"))
    assert isinstance(authorize(route("a"), alice, before), Permit)
    assert authorize(route("a"), alice, after) == INVALID
    assert isinstance(authorize(route("a"), alice, users("a")), Permit), "an older control plane does not say"
    assert isinstance(authorize(route("a"), caller("a"), after), Permit), "nor does an older token"


def test_a_route_without_scopes_asks_for_any_user() -> None:
    assert isinstance(authorize(route(), caller(), users()), Permit)
    assert authorize(route(), ANONYMOUS, users()) == MISSING


@pytest.mark.parametrize(
    ("token", "user", "missing"),
    [
        ((), (), {"a", "b"}),
        (("a",), ("a", "b"), {"b"}),
        (("a", "b"), ("a",), {"b"}),
        (("a",), ("b",), {"a", "b"}),
        (("A", "B"), ("A", "B"), {"a", "b"}),
    ],
)
def test_a_scope_must_be_granted_and_still_held(
    token: tuple[str, ...], user: tuple[str, ...], missing: set[str]
) -> None:
    wanted = route("a", "b")
    assert authorize(wanted, caller(*token), users(*user)) == Forbidden(wanted, frozenset(missing))


def test_a_user_who_is_gone_is_not_authenticated() -> None:
    assert authorize(route("a"), caller("a"), {}) == INVALID
    assert authorize(route("a"), caller("a", subject="bob"), users("a")) == INVALID


def test_a_disabled_user_is_not_authenticated() -> None:
    assert authorize(route(), caller("a"), users("a", disabled=True)) == INVALID


def test_a_public_route_is_for_everybody() -> None:
    for who in (ANONYMOUS, caller("a"), caller(subject="gone")):
        permit = authorize(route(public=True), who, users("a"))
        assert isinstance(permit, Permit)
        assert permit.scopes == frozenset()
        assert permit.user is None


def test_the_next_request_gets_the_same_permit() -> None:
    alice, orders, everybody = caller("a"), route("a"), users("a")
    assert authorize(orders, alice, everybody) is authorize(orders, alice, dict(everybody))


def test_a_remembered_permit_does_not_outlive_the_users_scopes() -> None:
    alice, orders = caller("a"), route("a")
    assert isinstance(authorize(orders, alice, users("a")), Permit)
    assert isinstance(authorize(orders, alice, users()), Forbidden)
    assert authorize(orders, alice, users("a", disabled=True)) == INVALID
    assert authorize(orders, alice, {}) == INVALID
    assert isinstance(authorize(orders, alice, users("a")), Permit)


def test_a_remembered_permit_is_for_its_route_alone() -> None:
    alice, everybody = caller("a"), users("a")
    assert isinstance(authorize(route("a"), alice, everybody), Permit)
    assert isinstance(authorize(route("a", "b"), alice, everybody), Forbidden)
    assert isinstance(authorize(route(public=True), alice, {}), Permit)
    assert authorize(route("a"), alice, {}) == INVALID


def test_a_permit_cannot_be_made_by_anybody_else() -> None:
    with pytest.raises(TypeError):
        Permit(route())  # type: ignore[arg-type]


SCOPES = st.frozensets(st.sampled_from("abc"))


@given(st.lists(st.tuples(SCOPES, st.booleans(), SCOPES, st.booleans()), min_size=1, max_size=8), SCOPES)
def test_remembering_never_changes_an_answer(
    requests: list[tuple[frozenset[str], bool, frozenset[str], bool]], granted: frozenset[str]
) -> None:
    """One caller, any sequence of routes and users: the answer is that of a caller nobody has seen before."""
    remembered = Caller("alice", granted, 1e10)
    routes: dict[object, Route] = {}
    known: dict[object, Mapping[str, User]] = {}
    for wanted, public, held, disabled in requests:
        orders = routes.setdefault(
            (wanted, public), Route("r", "svc", prefix="/", scopes=wanted, public=public)
        )
        everybody = known.setdefault((held, disabled), {"alice": User("alice", held, disabled)})
        found = authorize(orders, remembered, everybody)
        fresh = authorize(orders, Caller("alice", granted, 1e10), everybody)
        if isinstance(found, Permit) and isinstance(fresh, Permit):
            assert (found.route, found.user, found.scopes) == (fresh.route, fresh.user, fresh.scopes)
        else:
            assert found == fresh
