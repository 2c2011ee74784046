"""Sorted names by kind, and parts of lists."""

from __future__ import annotations

import random

from controlplane.model.listed import Listed
from controlplane.model.names import Names
from controlplane.model.resources import Scope
from controlplane.model.stored import Stamped


def test_names_follow_the_resources() -> None:
    chance, names, there = random.Random(1), Names(), set[tuple[str, str]]()
    for _ in range(2000):
        one = chance.choice(["scope", "route"]), f"n{chance.randrange(200)}"
        if one in there:
            names.remove(one)
            there.remove(one)
        else:
            names.add(one)
            there.add(one)
        if chance.random() < 0.1:
            names.frozen()
    for kind in ("scope", "route", "user"):
        expected = sorted(name for its_kind, name in there if its_kind == kind)
        assert list(names.frozen().get(kind, ())) == expected
        assert names.count(kind) == len(expected)


def test_what_was_handed_out_does_not_change() -> None:
    names = Names([("scope", "b")])
    before = names.frozen()
    names.add(("scope", "a"))
    names.add(("route", "r"))
    after = names.frozen()
    names.remove(("scope", "b"))
    assert (dict(before), dict(after)) == ({"scope": ["b"]}, {"scope": ["a", "b"], "route": ["r"]})
    assert names.frozen()["scope"] == ["a"]


class Counted(dict[tuple[str, str], Stamped]):
    """Counts what is looked at."""

    looks = 0

    def __getitem__(self, key: tuple[str, str]) -> Stamped:
        self.looks += 1
        return super().__getitem__(key)


def test_a_part_costs_its_own_length() -> None:
    names = [f"s:{number:05}" for number in range(10_000)]
    found = Counted({("scope", name): Stamped(Scope(name=name), 1) for name in names})
    part = Listed("scope", names, found).after("s:05000")
    assert [next(part).resource.name for _ in range(3)] == names[5001:5004]
    assert found.looks == 3
    assert [one.resource.name for one in Listed("scope", names, found).after("s:09998x")] == ["s:09999"]
    assert not list(Listed("scope", names, found).after("s:09999"))
