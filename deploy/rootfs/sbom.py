"""The bill of materials of an image, in CycloneDX 1.6 (ECMA-424)."""

from __future__ import annotations

import json
import platform
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.rootfs.debian import Package

_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org")


def document(requirement: str, site: Path, packages: Iterable[Package], epoch: int) -> dict[str, Any]:
    """The bill of an image with the distributions in `site`, made for `requirement` ("name" or "name[extra]")."""
    found = {_normal(each.name): each for each in distributions(path=[str(site)])}
    name, _, extras = requirement.rstrip("]").partition("[")
    root = found[_normal(name)]
    components = [_distribution(found[key]) for key in sorted(found) if key != _normal(name)]
    system = sorted([_python(), *map(_package, packages)], key=lambda each: str(each["bom-ref"]))
    bom: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
            "component": {**_distribution(root), "type": "application"},
        },
        "components": [*components, *system],
        "dependencies": list(_dependencies(found, root, set(extras.split(",")) - {""}, system)),
    }
    # The same content has the same number.
    content = json.dumps(bom, sort_keys=True)
    return {**bom, "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"}


def write(bom: Mapping[str, Any], folder: Path) -> None:
    """Write it beside what it describes, where scanners of images look for it."""
    (folder / "sbom.cdx.json").write_text(json.dumps(bom, indent=1, sort_keys=True) + "\n")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _reference(distribution: Distribution) -> str:
    return f"pkg:pypi/{_normal(distribution.name)}@{distribution.version}"


def _distribution(distribution: Distribution) -> dict[str, Any]:
    reference = _reference(distribution)
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "purl": reference,
        "name": distribution.name,
        "version": distribution.version,
    }
    return {**described, **_licence(distribution)}


def _licence(distribution: Distribution) -> dict[str, Any]:
    fields = distribution.metadata
    if "License-Expression" in fields:
        return {"licenses": [{"expression": fields["License-Expression"]}]}
    # The older field may hold a whole licence; the name is then in its first line.
    name = fields["License"].strip().partition("\n")[0] if "License" in fields else ""
    return {"licenses": [{"license": {"name": name}}]} if name else {}


def _package(package: Package) -> dict[str, Any]:
    version = quote(package.version, safe=".+-~")
    reference = f"pkg:deb/debian/{package.name}@{version}?arch={package.architecture}"
    return {
        "type": "library",
        "bom-ref": reference,
        "purl": reference,
        "name": package.name,
        "version": package.version,
    }


def _python() -> dict[str, Any]:
    version = platform.python_version()
    reference = f"pkg:generic/python@{version}"
    return {
        "type": "platform",
        "bom-ref": reference,
        "purl": reference,
        "name": "python",
        "version": version,
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }


def _dependencies(
    found: Mapping[str, Distribution], root: Distribution, extras: set[str], system: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for key in sorted(found):
        distribution = found[key]
        needs = set(_needs(distribution, extras if distribution is root else set())) & found.keys()
        references = sorted(_reference(found[need]) for need in needs)
        if distribution is root:
            references += [str(component["bom-ref"]) for component in system]
        yield {"ref": _reference(distribution), "dependsOn": references}


def _needs(distribution: Distribution, extras: set[str]) -> Iterator[str]:
    """Names of what it requires; what it requires on other systems is not installed, and left out by the caller."""
    for line in distribution.requires or ():
        name, extra = _NAME.match(line), _EXTRA.search(line)
        if name and (extra is None or extra[1] in extras):
            yield _normal(name[0])
