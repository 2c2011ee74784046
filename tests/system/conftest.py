"""Whole gateways of real processes on free ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.ports import free_port
from demo.world import World, make_world, running


def start_world(folder: Path) -> Iterator[World]:
    """The demo's world, on ports nobody uses."""
    with running(make_world(folder, [free_port() for _ in range(8)])) as world:
        yield world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for a module: for tests that leave it as they found it."""
    yield from start_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """One for a test that breaks things."""
    yield from start_world(tmp_path)
