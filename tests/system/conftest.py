"""Whole gateways of real processes on free ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.ports import free_port
from demo.world import World, make_world, running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The demo's world, on ports nobody uses; one for a module, as it takes ten seconds. Tests leave it as they found
    it, but the last one of a module."""
    with running(make_world(tmp_path_factory.mktemp("world"), [free_port() for _ in range(8)])) as world:
        yield world
