"""The chart as Helm's own engine renders it, and as schemas of Kubernetes see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this machine")

CHART = Path(__file__).parents[2] / "charts" / "headgate"
KUBERNETES = ("1.30", *tuple(dict.fromkeys(kubernetes_validate.utils.all_versions()))[-3:])
"""The oldest version that the chart accepts (kubeVersion), and the newest three that there are schemas for."""
NEEDED: dict[str, Any] = {"existingSecret": "headgate-secrets"}

CUSTOM = ("monitoring.coreos.com", "cert-manager.io", "external-secrets.io")
"""Groups of custom resources, which there are no schemas for."""

Objects = dict[str, dict[str, Any]]


def render(
    values: dict[str, Any], name: str = "demo", namespace: str = "prod", chart: Path | None = None
) -> Objects:
    """Every rendered object by "Kind/name"."""
    return parsed(manifests(values, name, namespace, chart))


def parsed(texts: Mapping[str, str]) -> Objects:
    """The objects in rendered templates by "Kind/name"."""
    documents = [
        document
        for path, text in texts.items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    found = {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}
    assert len(found) == len(documents)
    return found


def manifests(
    values: dict[str, Any], name: str = "demo", namespace: str = "prod", chart: Path | None = None
) -> dict[str, str]:
    """The text of every template. HelmError says what is wrong with the values."""
    with helm.Chart.load(str(chart or CHART)) as loaded:
        loaded.validate_schema(values)
        rendered: dict[str, str] = loaded.render(values, name=name, namespace=namespace)
    return rendered


def problems(objects: Objects) -> Iterator[str]:
    """What the schemas of Kubernetes find wrong; those of custom resources are not known."""
    for key, document in objects.items():
        if document["apiVersion"].partition("/")[0] in CUSTOM:
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{key}, Kubernetes {version}: {error.message}"


def pod(objects: Objects, plane: str) -> dict[str, Any]:
    """The pod's spec of a plane."""
    found: dict[str, Any] = objects[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]["spec"]
    return found


def container(objects: Objects, plane: str) -> dict[str, Any]:
    """The plane's own container."""
    found: dict[str, Any] = pod(objects, plane)["containers"][0]
    return found


def environment(objects: Objects, plane: str) -> dict[str, Any]:
    """The variables of a plane by name; none of them is set twice."""
    entries = container(objects, plane)["env"]
    found = {entry["name"]: entry for entry in entries}
    assert len(found) == len(entries)
    return found
