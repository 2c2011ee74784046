"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from demo.ports import free_port
from tests.support.etcd import Etcd

# How long an example takes says something about the machine, not about the code.
settings.register_profile("headgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("reproducible", settings.get_profile("headgate"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "headgate"))


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A real etcd for the whole run. Tests share it: each keeps to keys of its own, and none harms it."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def unused_tcp_port() -> int:
    """In place of pytest-asyncio's: its port is one of those that another test's outgoing connection may take."""
    return free_port()
