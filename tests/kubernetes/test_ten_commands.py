"""The ten commands of docs/kubernetes.md, each as it stands there, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.conftest import figures, show
from tests.support.kubernetes.helm import path_of_commands
from tests.support.kubernetes.images import TAG, Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.session import Session, session
from tests.support.pages import DOCS, ROOT, blocks

pytestmark = pytest.mark.timeout(900)

PAGE = DOCS / "kubernetes.md"
NAMESPACE = "headgate"
HEALTH = f"/api/v1/namespaces/{NAMESPACE}/services/gate-headgate-dataplane:80/proxy/health"
"""A request through the gateway's Service."""
EXAMPLE = "examples/kubernetes/hello.yaml"


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command, with the lines that its output must have."""
    lines = PAGE.read_text().splitlines()
    begin, end = lines.index("## Ten commands"), lines.index("## What to do next")
    found = [block for block in blocks(PAGE) if begin < block.line < end]
    for place, block in enumerate(found):
        if block.language == "bash":
            following = found[place + 1] if place + 1 < len(found) else block
            yield block.text, [] if following.language else following.text.splitlines()


@pytest.fixture
def shell(cluster: Kubectl, tmp_path: Path) -> Iterator[Session]:
    """A shell in the checkout, whose logins end with it; and the namespace of the page, which ends with it, too."""
    phases = {each["metadata"]["name"]: each["status"]["phase"] for each in cluster.list("namespaces")}
    if phases.get(NAMESPACE) == "Terminating":
        cluster.wait(f"namespace/{NAMESPACE}", "delete")
    elif NAMESPACE in phases:
        pytest.skip(f"the cluster has a namespace {NAMESPACE} already")
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "PATH": path_of_commands(tmp_path / "bin"),
        "XDG_CONFIG_HOME": str(tmp_path),
        "NO_PROXY": "*",
    }
    try:
        with session(ROOT, environment) as found:
            yield found
    finally:
        show(cluster.within(NAMESPACE))
        cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def adapted(command: str, images: Images, folder: Path) -> str:
    """The command as the page says it is for images of a registry; without one, as it stands."""
    if images.registry:
        setting = f"--set image.registry={images.registry.strip('/')}"
        command = command.replace("--wait --timeout", f"{setting} --wait --timeout")
        manifest = (ROOT / EXAMPLE).read_text()
        (folder / "hello.yaml").write_text(
            manifest.replace(f"headgate-sdk:{TAG}", images.reference("headgate-sdk"))
        )
        command = command.replace(EXAMPLE, str(folder / "hello.yaml"))
    return command


def test_a_stranger_gets_a_guarded_service(
    cluster: Kubectl, shell: Session, images: Images, tmp_path: Path
) -> None:
    every = list(commands())
    assert len(every) == 10
    began = time.monotonic()
    for number, (command, expected) in enumerate(every, 1):
        start = time.monotonic()
        output = shell.run(adapted(command, images, tmp_path))
        now = time.monotonic()
        figures.append(f"command {number}: {now - start:.1f} s, {now - began:.1f} s since the first began")
        for line in expected:
            assert line in output, output
        if number == 1:
            cluster.run("get", "--raw", HEALTH)
            figures.append(f"fresh namespace → first answer of the gateway: {time.monotonic() - began:.1f} s")
