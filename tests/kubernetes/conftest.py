"""A namespace for each test, in the cluster of KUBECONFIG."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.kubernetes.images import Images, of_environment
from tests.support.kubernetes.kubectl import Kubectl, KubectlError
from tests.support.kubernetes.load import Counts, Load
from tests.support.kubernetes.release import Release

figures: list[str] = []
"""What the tests measured, for the end of the run."""
RATE = int(os.environ.get("LOAD_RATE", "1000"))
"""Requests a second."""
APART = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "DoNotSchedule",
    # The drained node does not count, so the other ones may have more pods.
    "nodeTaintsPolicy": "Honor",
}
"""On every node, there is a pod of each plane to be evicted."""


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """The cluster, as the user of KUBECONFIG."""
    named = os.environ.get("KUBECONFIG")
    if not named:
        pytest.skip("no KUBECONFIG: type make kubernetes")
    kubectl = Kubectl(Path(named))
    if problem := kubectl.problem():
        pytest.exit(f"The cluster of KUBECONFIG ({named}) cannot be used: {problem}", 2)
    return kubectl


@pytest.fixture(scope="session")
def images() -> Images:
    return of_environment(os.environ)


@pytest.fixture
def namespace(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl for a new namespace."""
    with new_namespace(cluster) as kubectl:
        yield kubectl


@pytest.fixture(scope="session")
def release(cluster: Kubectl, images: Images) -> Iterator[Release]:
    """A gateway with two data planes, two control planes and a service of two pods that register themselves.

    All pods have the label `run`, so that a drain can leave those of others alone. The control planes may read the
    EndpointSlices of their own namespace, and no other.
    """
    with new_namespace(cluster) as kubectl:
        release = Release(kubectl, images)
        plane = {"topologySpreadConstraints": [APART]}
        discovery = {"kubernetes": {"enabled": True, "namespaces": [kubectl.namespace]}}
        release.install(
            commonLabels={"run": kubectl.namespace},
            dataplane=plane,
            controlplane={**plane, "discovery": discovery},
        )
        yield release


@pytest.fixture
def load(release: Release, request: pytest.FixtureRequest) -> Iterator[Load]:
    """Load during the test, none of whose requests may fail."""
    with measured(release.load(RATE), request.node.name) as (load, outcome):
        yield load
    assert not outcome.counts.failed


@dataclass
class Outcome:
    """What a load has counted in the end."""

    counts: Counts = field(init=False)


@contextmanager
def measured(load: Load, name: str) -> Iterator[tuple[Load, Outcome]]:
    """The load during the block. Its counts are one of the figures, and in the outcome when it has ended."""
    outcome, before = Outcome(), load.counts()
    try:
        yield load, outcome
        outcome.counts = after = load.more()
    finally:
        load.stop()
    figures.append(
        f"{name}: {after.total} requests, {after.failed.total()} failed, "
        f"{after.rate_since(before):.0f}/s for {after.seconds - before.seconds:.0f} s, "
        f"slowest {after.slowest:.3f} s"
    )


@contextmanager
def new_namespace(cluster: Kubectl) -> Iterator[Kubectl]:
    """A namespace for the block. Its objects are in the output of a test that fails."""
    name = f"headgate-{secrets.token_hex(3)}"
    cluster.run("create", "namespace", name)
    kubectl = cluster.within(name)
    try:
        yield kubectl
    finally:
        show(kubectl)
        cluster.run("delete", "namespace", name, "--wait=false")


def show(kubectl: Kubectl) -> None:
    """Print what there is in the namespace and what happened in it."""
    for arguments in (["pods", "--output=wide"], ["events", "--sort-by=.lastTimestamp"]):
        try:
            print(kubectl.run("get", *arguments))  # noqa: T201
        except KubectlError as error:
            print(error)  # noqa: T201


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
