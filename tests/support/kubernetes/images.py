"""The images that the tests run: those of Docker if it has them, else those made of the checkout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from demo.processes import ROOT
from tests.support.kubernetes import checkout, tools
from tests.support.kubernetes.node import PAUSE_IMAGE, SOCKET
from tests.support.kubernetes.steps import Steps, say

OURS = ("headgate-controlplane", "headgate-dataplane", "headgate-sdk")
TAG = (ROOT / "VERSION").read_text().strip()
ETCD = "{registry}/{repository}:{tag}".format(
    **yaml.safe_load((ROOT / "charts" / "headgate" / "values.yaml").read_text())["etcd"]["image"]
)
"""The image of the chart's etcd. In the cluster of the tests, it has the same version, built here."""


@dataclass(frozen=True, slots=True)
class Images:
    """Where the tests find the images: those of the chart, their tag, and an etcd."""

    registry: str
    """Prefix of the names, with a slash at its end; empty for images that are on the nodes already."""
    tag: str
    etcd: str

    def name(self, which: str) -> str:
        """Without the tag: `which` is one of OURS."""
        return f"{self.registry}{which}"

    def reference(self, which: str) -> str:
        return f"{self.name(which)}:{self.tag}"


def of_environment(environment: Mapping[str, str]) -> Images:
    """The images of IMAGE_REGISTRY, IMAGE_TAG and ETCD_IMAGE."""
    registry = environment.get("IMAGE_REGISTRY", "")
    return Images(
        registry=f"{registry.rstrip('/')}/" if registry else "",
        tag=environment.get("IMAGE_TAG") or TAG,
        etcd=environment.get("ETCD_IMAGE") or ETCD,
    )


def prepare(folder: Path, built: Mapping[str, Path], steps: Steps) -> list[Path]:
    """Archives of all images, for `import_archive`. `built` has the path of every program by name."""
    with steps.step("write images"):
        archives = [
            checkout.write_pause(folder, PAUSE_IMAGE, built["pause"]),
            checkout.write_etcd(folder, ETCD, [built[name] for name in tools.ETCD.programs]),
        ]
        if docker_has(references := [f"{name}:{TAG}" for name in OURS]):
            say("  the images of Docker")
            archives.append(folder / "docker.tar")
            subprocess.run(["docker", "save", "--output", str(archives[-1]), *references], check=True)
        else:
            say("  Docker has no images of this version: those of the checkout")
            archives.append(checkout.write_headgate(folder, TAG))
    return archives


def docker_has(references: list[str]) -> bool:
    """Whether an engine runs here and has all of them."""
    if not shutil.which("docker"):
        return False
    return not subprocess.run(
        ["docker", "image", "inspect", *references], capture_output=True, check=False
    ).returncode


def import_archive(ctr: Path, archive: Path) -> None:
    """Into the node's containerd, where kubelet finds them."""
    subprocess.run(
        [str(ctr), "--address", str(SOCKET), "--namespace", "k8s.io", "images", "import", str(archive)],
        check=True,
        capture_output=True,
    )
