"""Fixtures that several kinds of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.etcd import Etcd


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A real etcd for the whole run. Tests share it: each keeps to keys of its own, and none harms it."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server
