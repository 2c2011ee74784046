"""A release of the chart in a fake cluster: installed and upgraded with Helm's own engine, which looks objects up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.support.chart import CHART, Objects, helm, parsed
from tests.support.fake_kubernetes import FakeKubernetes, serving


class Release:
    """Renders the chart against a cluster that has the objects of the previous rendering."""

    def __init__(self, config: Any, cluster: FakeKubernetes, url: str) -> None:
        self._config = config
        self.cluster = cluster
        self.url = url
        """Of the cluster's API."""

    def upgrade(self, values: dict[str, Any]) -> Objects:
        """Every object by "Kind/name"; the cluster has them from now on."""
        with helm.Chart.load(str(CHART)) as chart:
            chart.validate_schema(values)
            texts = self._config.render(chart, values, name="demo", namespace="prod")
        found = parsed(texts)
        self.cluster.put(*found.values())
        return found


@contextmanager
def release() -> Iterator[Release]:
    """A release in a cluster of its own."""
    cluster = FakeKubernetes()
    with (
        serving(cluster) as kubeconfig,
        helm.Config(kubeconfig_content=kubeconfig, namespace="prod") as config,
    ):
        url = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["server"]
        yield Release(config, cluster, url)


def decoded(secret: dict[str, Any]) -> dict[str, bytes]:
    """The data of a Secret."""
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}
