"""Places: nobody takes them all, alone, from many names at one address, or with a few friends."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from controlplane.api.allowance import Allowance
from controlplane.api.places import Bounds, Full, Places
from controlplane.api.problems import HttpError
from controlplane.api.streams import BOUNDS


def fill(places: Places, stack: ExitStack, caller: str, address: str = "") -> int:
    """Take as many as there are for a caller."""
    count = 0
    while True:
        try:
            stack.enter_context(places.take(caller, address))
        except Full:
            return count
        count += 1


def test_some_greedy_callers_leave_places_for_everybody_else() -> None:
    places = Places("event streams", BOUNDS)
    with ExitStack() as stack:
        greedy = [fill(places, stack, f"greedy-{number}") for number in range(12)]
        assert greedy[:6] == [32] * 6 and set(greedy[6:]) == {4}
        assert [fill(places, stack, f"other-{number}") for number in range(5)] == [4] * 5
        with pytest.raises(Full, match="in all, 4 of them of this user"), places.take("greedy-9"):
            pass
    assert not len(places)


def test_one_address_with_many_names_has_a_bound() -> None:
    places = Places("event streams", BOUNDS)
    with ExitStack() as stack:
        took = [fill(places, stack, f"user-{number}", f"2001:db8::{number}") for number in range(5)]
        assert took == [32, 32, 0, 0, 0], "a host has a whole /64"
        assert fill(places, stack, "user-9", "2001:db8:0:1::1") == 32
        with pytest.raises(Full, match="64 from 2001:db8::/64 are open"), places.take("x", "2001:db8::7"):
            pass
    assert dict(places.refused) == {"caller": 3, "address": 4}


def test_a_place_is_free_again_at_the_end() -> None:
    places = Places("event streams", Bounds(4, of_caller=1, of_address=1))
    for _ in range(3):
        with places.take("ann", "192.0.2.1"):
            with pytest.raises(Full), places.take("ann", "192.0.2.2"):
                pass
            with pytest.raises(Full), places.take("bob", "192.0.2.1"):
                pass
    assert not len(places)


def test_what_costs_data_planes_work_is_shared_in_the_same_way() -> None:
    """Four readers could hold all explanations."""
    allowance = Allowance("Explanations", at_once=16, each=4, per_second=10, burst=20, now=lambda: 0.0)
    with ExitStack() as stack:
        for caller in "abcd":
            for _ in range(4):
                try:
                    stack.enter_context(allowance.take(caller))
                except HttpError as refused:
                    assert refused.status == 429 and refused.headers["Retry-After"] == "1"
        stack.enter_context(allowance.take("other"))
    assert not len(allowance.places)
