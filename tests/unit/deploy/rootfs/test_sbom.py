"""The bill of materials of an image, from the metadata of what is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.rootfs.debian import Package
from deploy.rootfs.sbom import document, write

EPOCH = 1_700_000_000
METADATA = {
    "Head_Gate.SDK": (
        "1.0",
        "License-Expression: Apache-2.0",
        "Requires-Dist: grpcio>=1.80",
        'Requires-Dist: rich>=14; extra == "cli"',
        'Requires-Dist: absent; sys_platform == "win32"',
    ),
    "grpcio": (
        "1.85.1",
        "License: Apache License 2.0\n        with many more lines",
        'Requires-Dist: rich; extra == "x"',
    ),
    "rich": ("15.0.0",),
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, (version, *fields) in METADATA.items():
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        head = ("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}")
        (folder / "METADATA").write_text("\n".join([*head, *fields]) + "\n")
    return tmp_path


PACKAGES = [Package("zlib1g", "1:1.2.13.dfsg-1", "amd64"), Package("libc6", "2.36-9+deb12u14", "amd64")]


def bill(site: Path, requirement: str = "head-gate-sdk[cli]") -> dict[str, Any]:
    return document(requirement, site, PACKAGES, EPOCH)


def test_it_describes_the_program_and_lists_the_rest(site: Path) -> None:
    found = bill(site)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert found["metadata"]["component"] == {
        "type": "application",
        "bom-ref": "pkg:pypi/head-gate-sdk@1.0",
        "purl": "pkg:pypi/head-gate-sdk@1.0",
        "name": "Head_Gate.SDK",
        "version": "1.0",
        "licenses": [{"expression": "Apache-2.0"}],
    }
    assert [part["name"] for part in found["components"]] == ["grpcio", "rich", "libc6", "zlib1g", "python"]


def test_names_and_versions_are_escaped_in_locators(site: Path) -> None:
    locators = [part["purl"] for part in bill(site)["components"]]
    assert "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64" in locators
    assert len(locators) == len(set(locators))


def test_a_licence_of_many_lines_is_named_by_its_first(site: Path) -> None:
    licences = {part["name"]: part.get("licenses") for part in bill(site)["components"]}
    assert licences["grpcio"] == [{"license": {"name": "Apache License 2.0"}}]
    assert licences["rich"] is None


@pytest.mark.parametrize(
    ("requirement", "needs"), [("head-gate-sdk[cli]", {"grpcio", "rich"}), ("head-gate-sdk", {"grpcio"})]
)
def test_dependencies_are_those_that_are_installed_and_asked_for(
    site: Path, requirement: str, needs: set[str]
) -> None:
    found = {entry["ref"]: entry["dependsOn"] for entry in bill(site, requirement)["dependencies"]}
    direct = {ref.split("/")[1].split("@")[0] for ref in found["pkg:pypi/head-gate-sdk@1.0"] if "pypi" in ref}
    assert direct == needs
    assert found["pkg:pypi/grpcio@1.85.1"] == []


def test_the_same_content_is_the_same_bill(site: Path, tmp_path: Path) -> None:
    assert bill(site) == bill(site)
    assert bill(site)["serialNumber"] != bill(site, "head-gate-sdk")["serialNumber"]
    write(bill(site), tmp_path)
    assert json.loads((tmp_path / "sbom.cdx.json").read_text()) == bill(site)
