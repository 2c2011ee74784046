"""Volumes of the cluster: every claim of the default class gets a folder, which ends with the claim. All nodes have it.

The volumes are of the kind "local", to which kubelet gives the group of the pod (fsGroup), unlike those of the kind
"hostPath". Sizes are not enforced.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

from demo.processes import start as start_process
from tests.support.kubernetes.api import connect

Object = dict[str, Any]

CLASS = "folders"
VOLUMES = "/api/v1/persistentvolumes"
PAUSE = 0.5
"""Seconds between two looks at the claims."""


def storage_class() -> Object:
    """The class of claims that name none."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "headgate.test/folders",
        "reclaimPolicy": "Delete",
    }


def volume(claim: Object, folder: Path) -> Object:
    """The volume for a claim, whose folder is in this one."""
    name = f"pvc-{claim['metadata']['uid']}"
    reference = {key: claim["metadata"][key] for key in ("namespace", "name", "uid")}
    everywhere = {"key": "kubernetes.io/hostname", "operator": "Exists"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            # By it, the cluster's own controller leaves the end of the volume to this program.
            "annotations": {"pv.kubernetes.io/provisioned-by": "headgate.test/folders"},
        },
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [everywhere]}]}},
        },
    }


def wanted(claims: Iterable[Object], volumes: Collection[str], folder: Path) -> Iterator[Object]:
    """The volumes to make: `volumes` are the names of those that exist."""
    for claim in claims:
        made = claim["spec"].get("storageClassName") == CLASS and volume(claim, folder)
        if made and claim["status"]["phase"] == "Pending" and made["metadata"]["name"] not in volumes:
            yield made


def ended(volumes: Iterable[Object]) -> Iterator[str]:
    """Names of the volumes whose claims are gone."""
    for each in volumes:
        if each["spec"].get("storageClassName") == CLASS and each["status"].get("phase") == "Released":
            yield each["metadata"]["name"]


def serve(api: httpx.Client, folder: Path) -> None:
    """Look at the claims again and again. An error of the API server ends only this look."""
    while True:
        try:
            look(api, folder)
        except httpx.HTTPError as error:
            sys.stderr.write(f"{error!r}\n")
        time.sleep(PAUSE)


def look(api: httpx.Client, folder: Path) -> None:
    """Make the volumes that are missing, and remove those that have ended."""
    claims = _list(api, "/api/v1/persistentvolumeclaims")
    volumes = _list(api, VOLUMES)
    for made in wanted(claims, {each["metadata"]["name"] for each in volumes}, folder):
        Path(made["spec"]["local"]["path"]).mkdir(parents=True, exist_ok=True)
        api.post(VOLUMES, json=made).raise_for_status()
    for name in ended(volumes):
        api.delete(f"{VOLUMES}/{name}").raise_for_status()
        shutil.rmtree(folder / name, ignore_errors=True)


def _list(api: httpx.Client, path: str) -> list[Object]:
    found: list[Object] = api.get(path).raise_for_status().json()["items"]
    return found


def start(kubeconfig: Path, folder: Path, logs: Path) -> None:
    """Start it as a process."""
    start_process("storage", [sys.executable, "-m", __name__, str(kubeconfig), str(folder)], {}, logs)


if __name__ == "__main__":
    serve(connect(Path(sys.argv[1])), Path(sys.argv[2]))
