"""No more clients are taken than there are file descriptors for."""

from __future__ import annotations

import resource

import pytest

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.descriptors import within_descriptors


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the process' limit was set to."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))
    return calls


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))


def test_the_limit_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, raised: list[tuple[int, int]]
) -> None:
    limited(monkeypatch, 1024, 524_288)
    assert within_descriptors(Bounds()) == Bounds()
    assert raised == [(524_288, 524_288)]


def test_a_quarter_of_them_is_for_instances(
    monkeypatch: pytest.MonkeyPatch, raised: list[tuple[int, int]]
) -> None:
    limited(monkeypatch, 1024, 1024)
    assert within_descriptors(Bounds()).connections == 720
    assert within_descriptors(Bounds(connections=100)).connections == 100
    assert not raised


def test_one_client_at_least(monkeypatch: pytest.MonkeyPatch, raised: list[tuple[int, int]]) -> None:
    limited(monkeypatch, 10, 10)
    assert within_descriptors(Bounds()).connections == 1


def test_no_limit_is_no_limit(monkeypatch: pytest.MonkeyPatch, raised: list[tuple[int, int]]) -> None:
    limited(monkeypatch, 1024, resource.RLIM_INFINITY)
    assert within_descriptors(Bounds()) == Bounds()
