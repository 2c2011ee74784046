"""The steps of a new user, from start to end. `make tutorial` runs them; `make test` does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.ports import free_port
from demo.world import World, make_world, running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The demo, for every page."""
    with running(make_world(tmp_path_factory.mktemp("world"), [free_port() for _ in range(8)])) as world:
        yield world
