"""The manifests of examples/kubernetes are valid, and name the images of this version."""

from __future__ import annotations

import yaml

from tests.support.chart import problems
from tests.support.pages import ROOT

MANIFESTS = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
VERSION = (ROOT / "VERSION").read_text().strip()


def test_every_object_is_valid() -> None:
    documents = [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]
    objects = {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}
    assert len(objects) == len(documents) > 0
    assert list(problems(objects)) == []


def test_images_are_those_of_this_version() -> None:
    images = {
        container["image"]
        for path in MANIFESTS
        for each in yaml.safe_load_all(path.read_text())
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"headgate-sdk:{VERSION}"}
